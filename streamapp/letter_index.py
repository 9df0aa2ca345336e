"""All dead letters, as far as a comparison needs them: whose they are, a digest of their bytes, how often they failed.

It takes memory for each dead letter, some 300 bytes; nothing for any other record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from streamapp import sent
from streamapp.document import id_of
from streamapp.record import OURS, Origin, Record, origin_of
from streamapp.topic_reader import TopicReader

_MILLIS_PER_HOUR = 3_600_000
_TOLD_EVERY = 1_000


class Letter(NamedTuple):
    """What is known of an event that failed."""

    origin: Origin
    #: Of key and value; of no use where two letters of the same event differ.
    digest: bytes
    #: Why it failed first.
    reason: str
    #: See `sent.of_value`.
    content: bytes

    def is_of(self, record: Record) -> bool:
        """Whether its bytes are those of the record."""
        return self.digest == _digest(record)


@dataclass(slots=True)
class LetterIndex:
    """By the `_id` that the event has, or would have."""

    letters: dict[str, Letter] = field(default_factory=dict[str, Letter])
    #: Ids of the events counted by reason and hour, as in the collection `dead_letters`.
    counted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Whether dead letters have been deleted from their topic.
    is_cut: bool = False
    _read_upto: dict[int, int] = field(default_factory=dict[int, int])

    def read(self, reader: TopicReader, on_read: Callable[[int], None] = lambda _: None) -> None:
        """Add all that is in the topic and was not read before."""
        for partition in reader.partitions():
            low, high = reader.bounds(partition)
            start = max(low, self._read_upto.get(partition, low))
            self.is_cut |= low > 0
            for record in _counted(reader.read(partition, start, high), on_read):
                self._add(record, reader.topic)
            self._read_upto[partition] = high

    def _add(self, record: Record, topic: str) -> None:
        origin = origin_of(record, None)
        if origin.topic == topic:
            return  # somebody else's record, without our headers
        id_, digest = id_of(origin), _digest(record)
        reason = next((value or b"" for name, value in record.headers if name == f"{OURS}reason"), b"").decode()
        letter = Letter(origin, digest, reason, sent.of_value(record.value))
        before = self.letters.get(id_)
        self.letters[id_] = letter if before is None else _both(before, letter)
        self.counted[f"{reason}:{origin.timestamp // _MILLIS_PER_HOUR * _MILLIS_PER_HOUR}"].add(id_)


def _counted(records: Iterator[Record], on_read: Callable[[int], None]) -> Iterator[Record]:
    for done, record in enumerate(records, start=1):
        yield record
        if done % _TOLD_EVERY == 0:
            on_read(_TOLD_EVERY)


def _both(before: Letter, letter: Letter) -> Letter:
    first = min(before, letter, key=lambda each: each.origin.failures)
    last = max(before, letter, key=lambda each: each.origin.failures)
    return first._replace(origin=last.origin, digest=last.digest if first.digest == last.digest else b"")


def _digest(record: Record) -> bytes:
    parts = (b"-" if part is None else b"%d+" % len(part) + part for part in (record.key, record.value))
    return blake2b(b"".join(parts), digest_size=8).digest()
