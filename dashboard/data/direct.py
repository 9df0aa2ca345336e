"""Count events in `events` itself: where rollups lack them, and users under a filter.

The events are read, and counted here by the definitions of the rollups: so both count the same. MongoDB would take five
times as long to group them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import pymongo

from dashboard.data.cell_sums import labels_of
from dashboard.model import labels
from dashboard.model.snapshot import FILTERS, Counts, Filter
from dashboard.model.time_window import Window, from_ms, to_ms
from streamapp.model.user_event import CHARTS, DIMENSIONS, SCHEMA_VERSION, TIME, USER
from streamapp.model.value_text import text_of, values_of
from streamapp.rollups.keys import MAX_KEY_LENGTH, key_of

if TYPE_CHECKING:
    from datetime import datetime

    from pymongo.database import Database

Document = Mapping[str, Any]
#: The texts of an event's values, one of each of DIMENSIONS.
Texts = tuple[str | None, ...]
_PATHS = {each.plural: each.path for each in DIMENSIONS}
_STEPS = tuple(tuple(each.path.split(".")) for each in DIMENSIONS)
_PROJECTION = {"_id": 0, **dict.fromkeys((USER, TIME, *_PATHS.values()), 1)}
_VERSIONS = SCHEMA_VERSION.plural
#: After every text that has the same beginning.
_LAST = "\U0010ffff"


class _Kind(NamedTuple):
    """What is known of all events with the same values."""

    labels: Mapping[str, str]
    passes: bool


class _Kinds(dict[Texts, _Kind]):
    """What is known of events by their values, found out once."""

    def __init__(self, wanted: Filter, numbers: Mapping[int, int]) -> None:
        super().__init__()
        self._wanted = wanted
        self._numbers = numbers

    def __missing__(self, texts: Texts) -> _Kind:
        keys = {name: key_of(text) for name, text in zip(_PATHS, texts, strict=True)}
        of = {**{name: labels.of_key(key) for name, key in keys.items()}, **labels_of(keys, self._numbers)}
        passes = all(not (chosen := self._wanted.selected(name)) or of[name] in chosen for name in FILTERS)
        self[texts] = found = _Kind(of, passes)
        return found


def counts(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Mapping[int, int], most: int
) -> tuple[Counts, int]:
    """Return the newest events of the window, counted, and how many were read.

    Args:
        database: the database.
        window: the period.
        wanted: the filter.
        numbers: the number that each version of the event has under the subject.
        most: the greatest number of events to read.
    """
    kinds, users = _Kinds(wanted, numbers), set[str]()
    found: Counter[tuple[int, Texts]] = Counter()
    for event in _read(database, window, {}, most):
        texts = _texts(event)
        found[int(event[TIME]) // window.level.width_ms, texts] += 1
        if kinds[texts].passes:
            users.add(_user(event))
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    sums: Mapping[str, Counter[str]] = {each.plural: Counter() for each in DIMENSIONS}
    in_all: Mapping[str, Counter[str]] = {name: Counter() for name in FILTERS}
    for (bucket, texts), n in found.items():
        of, passes = kinds[texts]
        for name in FILTERS:
            in_all[name][of[name]] += n
        if passes:
            by_bucket[from_ms(bucket * window.level.width_ms), of[_VERSIONS]] += n
            for name, label in of.items():
                sums[name][label] += n
    counted = Counts(
        by_bucket=by_bucket,
        by_value={each.plural: sums[each.plural] for each in CHARTS},
        users=len(users),
        options={name: labels.offered(in_all[name], wanted.selected(name)) for name in FILTERS},
    )
    return counted, found.total()


def users(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Mapping[int, int], most: int
) -> int:
    """Return the number of different users among the newest events of the window that may pass the filter and do."""
    kinds = _Kinds(wanted, numbers)
    read = _read(database, window, _candidates(wanted), most)
    return len({_user(event) for event in read if kinds[_texts(event)].passes})


def query(window: Window, condition: Document | None = None) -> Document:
    """Return the query for the events of a window; it uses the index on event_timestamp."""
    return {TIME: {"$gte": to_ms(window.start), "$lt": to_ms(window.end)}, **(condition or {})}


def _read(database: Database[dict[str, Any]], window: Window, condition: Document, most: int) -> Iterator[Document]:
    found = database["events"].find(query(window, condition), _PROJECTION, sort=[(TIME, pymongo.DESCENDING)])
    return found.limit(most).batch_size(most)


def _texts(event: Document) -> Texts:
    return tuple([_text(event, steps) for steps in _STEPS])


def _text(event: Any, steps: Sequence[str]) -> str | None:
    for step in steps:
        event = event.get(step) if type(event) is dict else None
    return event if event is None or type(event) is str else text_of(event)


def _user(event: Document) -> str:
    user = event.get(USER)
    return "" if user is None else str(user)


def _candidates(wanted: Filter) -> Document:
    """The condition that all events that pass the filter meet, and few others."""
    fields = [_candidates_of(_PATHS[name], wanted.selected(name)) for name in FILTERS if wanted.selected(name)]
    return {"$and": fields} if fields else {}


def _candidates_of(field: str, chosen: Sequence[str]) -> Document:
    texts = [text for label in chosen if (text := labels.text_of(label)) is not None]
    conditions: list[Document] = [
        {field: {"$in": [*chain.from_iterable(map(values_of, texts))]}},
        # Values of other types, whose text is known here only.
        {field: {"$not": {"$type": ["string", "null"]}}},
        {field: {"$type": "array"}},
        *_cut(field, texts),
    ]
    if labels.OF_NULL.intersection(chosen):
        conditions.append({field: None})
    if labels.UNREGISTERED in chosen:
        conditions.append({field: {"$not": labels.VERSION}})
    return {"$or": conditions}


def _cut(field: str, texts: Iterable[str]) -> Iterable[Document]:
    """The condition for each text that may be the beginning of longer ones."""
    starts = [text[:-1] for text in texts if len(text) == MAX_KEY_LENGTH and text.endswith("…")]
    return [{field: {"$gte": start, "$lt": start + _LAST}} for start in starts]
