"""What only the events of a window tell, not its rollups; chunks that have not changed are not read again.

An event is stored before a rollup counts it, so what is read after the stamps of a chunk has all the events that its
rollups count.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple

from dashboard.data import chunks, direct
from dashboard.data.chunks import Chunk, KeptAnswers
from dashboard.data.rollup_sums import Sums
from dashboard.model.snapshot import Filter
from dashboard.model.time_window import Window, to_ms
from streamapp.model.user_event import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.data.chunks import Document
    from dashboard.data.direct import Group


class EventQuery(NamedTuple):
    """What is asked of the events of a window."""

    window: Window
    wanted: Filter
    numbers: Mapping[int, int]
    #: Whether all values of the events that pass the filter are asked for, and not only their users.
    by_value: bool


class EventSums(NamedTuple):
    """What the events of a window, or of a chunk, tell."""

    #: Number of events, whatever the filter.
    stored: int
    #: Of the events that pass the filter.
    users: AbstractSet[str]
    #: The events that pass the filter by their values; of a window one part for each chunk.
    parts: Sequence[Sums]


def of_window(
    database: Database[dict[str, Any]],
    query: EventQuery,
    rollups: Mapping[Chunk, Sequence[Document]],
    kept: KeptAnswers[EventSums],
) -> EventSums:
    """Return what the events of the window tell; the rollups were read before, with their stamps."""
    asked = query.window.level, query.wanted, tuple(sorted(query.numbers.items())), query.by_value
    buckets: dict[Chunk, list[datetime]] = {}
    for bucket in query.window.buckets:
        buckets.setdefault(chunks.chunk_of(bucket, query.window), []).append(bucket)
    stamps = {chunk: chunks.stamps_of(rollups.get(chunk, ())) for chunk in buckets}
    found = {chunk: known for chunk in buckets if (known := kept.get(asked, stamps[chunk])) is not None}
    if changed := {chunk: of_chunk for chunk, of_chunk in buckets.items() if chunk not in found}:
        found |= _read(database, query, changed)
    for chunk, of_chunk in changed.items():
        # A bucket without a rollup has no stamp, which would tell that it has changed.
        if {each["bucket"] for each in rollups.get(chunk, ())}.issuperset(of_chunk):
            kept.keep(asked, stamps[chunk], found[chunk])
    return EventSums(
        stored=sum(each.stored for each in found.values()),
        users=frozenset().union(*(each.users for each in found.values())),
        parts=[part for each in found.values() for part in each.parts],
    )


def _read(
    database: Database[dict[str, Any]], query: EventQuery, buckets: Mapping[Chunk, Sequence[datetime]]
) -> dict[Chunk, EventSums]:
    window, events = query.window, database["events"]
    spans = {chunk: _between(of_chunk[0], of_chunk[-1] + window.width) for chunk, of_chunk in buckets.items()}
    candidates = [{"$match": {"$or": [*spans.values()]}}, {"$match": direct.candidates(query.wanted)}]
    names = direct.NAMES if query.by_value else direct.names_for(query.wanted)
    groups: dict[Chunk, list[Group]] = {chunk: [] for chunk in buckets}
    for group in direct.groups(database, candidates, window.level.width_ms, names):
        groups[chunks.chunk_of(group.bucket, window)].append(group)
    sums = {chunk: direct.summed(groups[chunk], query.wanted, query.numbers, names) for chunk in buckets}
    return {
        chunk: EventSums(
            stored=events.count_documents(spans[chunk]),
            users=sums[chunk].users,
            parts=[Sums(direct.counted(sums[chunk], query.wanted, query.numbers), {})] if query.by_value else [],
        )
        for chunk in buckets
    }


def _between(start: datetime, end: datetime) -> Document:
    return {TIME: {"$gte": to_ms(start), "$lt": to_ms(end)}}
