"""A history for the page: seeded events of half a year, distributed so that every bucket of every range has some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import NamedTuple

from streamapp.decode import document
from streamapp.decode.document import Document, EventTimes
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.model.event import schema
from streamapp.model.record import Origin, PartitionId
from streamapp.samples.generator import Sample, samples

PARTITIONS = 4
#: The topic id.
TOPIC_ID = "benchmark-of-the-page0"
USERS = 200_000

#: When a part begins before the end, and its share of the events. The parts are a little longer than twice the 90 days,
#: 7 days, 24 hours and 1 hour that the page shows (by day, hour, 10 minutes and minute), to cover the period before.
#: days, the 24 hours and the hour that the page shows by days, hours, 10 minutes and minutes, with the period before.
_PARTS = (
    (timedelta(days=182), 0.12),
    (timedelta(days=15), 0.25),
    (timedelta(hours=50), 0.25),
    (timedelta(hours=3), 0.38),
)
#: Number of different samples; they repeat, each time with another user.
_SAMPLES = 20_000
_ANY_TIME = EventTimes(earliest=0, ahead=0)


class _Part(NamedTuple):
    #: Share of the whole history, from 0 to 1.
    first_share: float
    share: float
    start_ms: float
    length_ms: float


class Timeline:
    """The event time of each event of a partition; beyond the history, events continue at the rate of its last part."""

    def __init__(self, *, events: int, end: datetime) -> None:
        #: Number of events of one partition.
        self.events = events
        self.end_ms = round(end.timestamp() * 1_000)
        self._parts = [*_parts(self.end_ms)]

    def at_ms(self, position: float) -> int:
        """Event time of the event with this offset, epoch ms; strictly ascending."""
        share = position / self.events
        part = next((part for part in self._parts if share >= part.first_share), self._parts[-1])
        return int(part.start_ms + part.length_ms * ((share - part.first_share) / part.share))


def _parts(end_ms: int) -> Iterator[_Part]:
    """The parts of the history, the latest first."""
    end_share, end = 1.0, float(end_ms)
    for since, share in reversed(_PARTS):
        start = end_ms - since / timedelta(milliseconds=1)
        end_share -= share
        yield _Part(end_share, share, start, end - start)
        end = start


@dataclass(slots=True, kw_only=True)
class Partition:
    """The events of one partition, from offset 0 on, without an end."""

    number: int
    timeline: Timeline
    #: The next offset.
    offset: int = 0
    _random: random.Random = field(init=False)
    _samples: Iterator[Sample] = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.number)  # noqa: S311 - sample data
        self._samples = cycle(islice(samples(seed=self.number, v2_ratio=0.7), _SAMPLES))

    @property
    def partition_id(self) -> PartitionId:
        """The partition of the rollups."""
        return PartitionId(TOPIC_ID, self.number)

    def take(self, *, most: int, until_ms: int) -> list[Document]:
        """The documents of the next events that have happened by then."""
        taken: list[Document] = []
        while len(taken) < most and (at := self._next_at()) <= until_ms:
            taken.append(self._document(at))
            self.offset += 1
        return taken

    def _next_at(self) -> int:
        # Spread within the partition's share of time: not in step with other partitions, and always in order.
        return self.timeline.at_ms(self.offset + self.offset * 0.618_034 % 1)

    def _document(self, at: int) -> Document:
        sample = next(self._samples)
        event = sample.event(at=at)
        event["user_id"] = f"user-{int(USERS * self._random.random() ** 2):06d}"
        return document.build(
            event,
            writer=WRITERS[sample.version],
            origin=Origin("user_events", self.number, self.offset, at, TOPIC_ID),
            received_at=datetime.fromtimestamp(at / 1_000, UTC),
            times=_ANY_TIME,
        )


def _writer(version: int) -> WriterSchema:
    return writer_schema(schema(version), schema_id=version, version=f"v{version}")


WRITERS = {1: _writer(1), 2: _writer(2)}
