"""Read the newest events of a window: once for all that is asked about single events, whatever the filter is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

from dashboard.data import direct
from dashboard.data.direct import GroupSums, Texts
from dashboard.model import clients, labels, user_activity
from dashboard.model.clients import Headers
from dashboard.model.snapshot import Sample
from dashboard.model.time_window import from_ms
from dashboard.model.user_activity import Act
from streamapp.model.user_event import DIMENSIONS, MAIN_DIMENSION, TIME, USER
from streamapp.model.value_text import text_of
from streamapp.rollups.keys import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.model.clients import Client
    from dashboard.model.snapshot import Filter
    from dashboard.model.time_window import Window
    from dashboard.model.user_activity import Activity, ActivityQuery

#: Events of a window that are read.
MOST_READ = 10_000
_FIELDS = {**dict.fromkeys((TIME, USER, clients.FIELD, *(each.path for each in DIMENSIONS)), 1), "_id": 0}
_MAIN = [each.plural for each in DIMENSIONS].index(MAIN_DIMENSION)


class Newest(NamedTuple):
    """The newest events of a window, the newest first, in columns: thousands of objects fewer than an object each."""

    users: list[str]
    labels: list[str]
    """Of their event types."""
    times_ms: list[int]
    texts: list[Texts]
    headers: list[Headers]
    first_left_out: datetime | None
    """The time of the newest event that was not read; None if all were."""


def read(database: Database[dict[str, Any]], window: Window) -> Newest:
    """Return the newest events of a window whose time is a number."""
    stages = [*direct.newest(window, MOST_READ + 1), {"$project": _FIELDS}]
    found = [*database["events"].aggregate(stages, batchSize=MOST_READ + 1)]
    # Of other programs: an array matches if one of its numbers does.
    events = [event for event in found if isinstance(event[TIME], int | float)]
    # One more than is counted tells whether there are more, and from when they are.
    is_cut = len(found) > MOST_READ and bool(events)
    first_left_out = from_ms(int(events.pop()[TIME])) if is_cut else None
    made = Newest([], [], [], [], [], first_left_out)
    # Equal values are one object: most events have the values of others.
    texts, headers, labels_of = dict[Texts, Texts](), dict[Headers, Headers](), dict[str | None, str]()
    for event in events:
        of_event, of_record, user = direct.texts_of(event), clients.headers_of(event), event.get(USER)
        main = of_event[_MAIN]
        if main not in labels_of:
            labels_of[main] = labels.of_key(key_of(main))
        made.users.append(user if type(user) is str else text_of(user) or "")
        made.labels.append(labels_of[main])
        made.times_ms.append(int(event[TIME]))
        made.texts.append(texts.setdefault(of_event, of_event))
        made.headers.append(headers.setdefault(of_record, of_record))
    return made


def sample(found: Newest, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
    """Return the events, counted by value: those that pass the filter."""
    width_ms = window.level.width_ms
    starts = [at_ms // width_ms * width_ms for at_ms in found.times_ms]
    buckets = {start: from_ms(start) for start in {*starts}}
    by_value = Counter(zip(map(buckets.__getitem__, starts), found.texts, strict=True))
    counts = direct.counted(GroupSums(by_value, frozenset()), wanted, numbers)
    return Sample(counts=replace(counts, users=None), read=len(found.times_ms), is_cut=found.first_left_out is not None)


def senders(found: Newest, wanted: Filter, numbers: Mapping[int, int]) -> Sequence[Client]:
    """Return who sent the events that pass the filter."""
    sent = zip(found.headers, found.times_ms, strict=True)
    return clients.clients(compress(sent, direct.passing(found.texts, wanted, numbers)))


def activity(found: Newest, query: ActivityQuery, numbers: Mapping[int, int]) -> Activity:
    """Return what users did in the events that pass the filter."""
    acts = map(Act._make, zip(found.users, found.labels, found.times_ms, strict=True))
    passing = compress(acts, direct.passing(found.texts, query.filter, numbers))
    return user_activity.activity(passing, query, found.first_left_out)
