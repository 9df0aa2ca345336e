"""Which records are replayed dead letters: the coordinates in their headers are believed only with a reason.

Any producer can write these headers. A replayed dead letter has a record before it in the same partition; without a
signing key, that is the proof. A dead letter of another partition, or of a topic that was deleted, is known by its mark
in `failed_offsets`. It got the mark before it was replayed, so a record that was handled before the mark is no replay.
With a signing key, only a signature is a proof.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from streamapp.model.record import (
    BatchRecord,
    Origin,
    PartitionId,
    is_settled_before,
    origin_from_headers,
    streamapp_headers,
)

#: The headers that are signed, besides the digests of key and value.
_SIGNED = ("topic", "partition", "offset", "timestamp", "incarnation", "attempt", "reason")

Headers = Sequence[tuple[str, bytes | None]]


def sign(key: bytes, headers: Mapping[str, bytes], record_key: bytes | None, value: bytes | None) -> bytes:
    """The signature of a dead letter: HMAC-SHA256 in hexadecimal.

    Args:
        key: the signing key.
        headers: those of streamapp, by their name without the prefix.
        record_key: the record's key.
        value: the record's value. Where headers say that key or value are omitted, their digests are in headers.
    """
    digests = [
        headers.get(f"{name}_sha256", b"") if f"{name}_omitted" in headers else _digest(part)
        for name, part in (("key", record_key), ("value", value))
    ]
    parts = [*(headers.get(name, b"") for name in _SIGNED), *digests]
    message = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hmac.new(key, message, sha256).hexdigest().encode()


def is_signed(key: bytes, headers: Headers, record_key: bytes | None, value: bytes | None) -> bool:
    """Whether the headers have the signature of this key for this record."""
    ours = streamapp_headers(headers)
    return hmac.compare_digest(ours.get("signature", b""), sign(key, ours, record_key, value))


def _digest(part: bytes | None) -> bytes:
    return b"null" if part is None else sha256(part).hexdigest().encode()


@dataclass(slots=True)
class Claims:
    """The records of one partition whose headers name other coordinates than their own, by the record's offset."""

    #: Replayed dead letters, with the coordinates of their event.
    believed: dict[int, Origin] = field(default_factory=dict[int, Origin])
    #: Records that are replayed dead letters if `failed_offsets` has a mark of their coordinates.
    doubtful: dict[int, Origin] = field(default_factory=dict[int, Origin])
    #: Offsets of records that are no replayed dead letters.
    refused: list[int] = field(default_factory=list[int])

    def places(self) -> Mapping[PartitionId, set[int]]:
        """The offsets to look up in `failed_offsets`."""
        found = defaultdict[PartitionId, set[int]](set)
        for origin in self.doubtful.values():
            found[partition_id_of(origin)].add(origin.offset)
        return found

    def resolve(self, marked: Mapping[PartitionId, Iterable[int]], *, handled: Container[int] = ()) -> None:
        """Believe the doubtful ones that are marked, and refuse the others.

        Args:
            marked: the offsets in `places` that are marked.
            handled: offsets of doubtful records that were handled as new records at an earlier delivery: there was no
                mark then, so the dead letter is later than the record.
        """
        failed = {(partition_id, offset) for partition_id, offsets in marked.items() for offset in offsets}
        for offset, origin in self.doubtful.items():
            if (partition_id_of(origin), origin.offset) in failed and offset not in handled:
                self.believed[offset] = origin
            else:
                self.refused.append(offset)
        self.doubtful = {}


def partition_id_of(origin: Origin) -> PartitionId:
    """The partition that the event was first read from."""
    return PartitionId(origin.topic_id or origin.topic, origin.partition)


def claims(
    records: Iterable[BatchRecord], topic: str, partition: int, topic_id: str | None, signing_key: bytes | None
) -> Claims:
    """Judge the headers of the records of one partition."""

    def is_here(origin: Origin) -> bool:
        """A record cannot be the replay of itself or of a later record of its partition."""
        return topic_id is not None and (origin.partition, origin.topic_id) == (partition, topic_id)

    found = Claims()
    for record in records:
        if not record.headers or (origin := origin_from_headers(record.headers)) is None:
            continue
        if signing_key is not None:
            is_proven = is_signed(signing_key, record.headers, record.key, record.value)
        else:
            is_proven = is_settled_before(origin, topic, partition, record.offset, topic_id)
        if is_proven:
            found.believed[record.offset] = origin
        elif signing_key is None and origin.failures and origin.topic == topic and not is_here(origin):
            found.doubtful[record.offset] = origin
        else:
            found.refused.append(record.offset)
    return found
