"""Count events in `events` itself: where rollups lack them, and users under a filter.

MongoDB groups the events by their values, and the groups are labelled here, by the definitions of the rollups: so both
count the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import pymongo

from dashboard.data.cell_sums import labels_of
from dashboard.model import labels
from dashboard.model.explorer import value_at
from dashboard.model.snapshot import FILTERS, IN_CELLS, Counts, Filter
from dashboard.model.time_window import Window, from_ms, to_ms
from streamapp.model.user_event import CHARTS, DIMENSIONS, SCHEMA_VERSION, TIME, USER
from streamapp.model.value_text import text_of, values_of
from streamapp.rollups.keys import MAX_KEY_LENGTH, key_of

if TYPE_CHECKING:
    from datetime import datetime

    from pymongo.database import Database

Document = Mapping[str, Any]
#: The texts of an event's values, one of each dimension that is read.
Texts = tuple[str | None, ...]
_PATHS = {each.plural: each.path for each in DIMENSIONS}
_VERSIONS = SCHEMA_VERSION.plural
#: Groups that MongoDB returns at once: mostly all of them.
_BATCH = 100_000
#: After every text that has the same beginning.
_LAST = "\U0010ffff"


class _Kind(NamedTuple):
    """What is known of all events with the same values."""

    labels: Mapping[str, str]
    passes: bool


class _Kinds(dict[Texts, _Kind]):
    """What is known of events by their values, found out once."""

    def __init__(self, wanted: Filter, numbers: Mapping[int, int], names: Iterable[str] = _PATHS) -> None:
        super().__init__()
        self.wanted = wanted
        self._numbers = numbers
        self._names = tuple(names)

    def __missing__(self, texts: Texts) -> _Kind:
        keys = {name: key_of(text) for name, text in zip(self._names, texts, strict=True)}
        of = {name: labels.of_key(key) for name, key in keys.items() if name not in IN_CELLS}
        of |= labels_of(keys, self._numbers) if keys else {}
        passes = all(of[name] in self.wanted.selected(name) for name in self.wanted.names)
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
    found = _found(database, window, newest(window, most))
    # An event can be stored between the two queries.
    n = users(database, window, wanted, numbers, most)
    return _counted(found, _Kinds(wanted, numbers), n), found.total()


def passing(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Mapping[int, int], most: int
) -> Counts:
    """Return what `counts` returns, without the labels of events that do not pass the filter."""
    found = _found(database, window, [*newest(window, most), {"$match": candidates(wanted)}])
    return _counted(found, _Kinds(wanted, numbers), users(database, window, wanted, numbers, most))


def _found(
    database: Database[dict[str, Any]], window: Window, stages: Sequence[Document]
) -> Counter[tuple[datetime, Texts]]:
    width_ms = window.level.width_ms
    bucket = {"$floor": {"$divide": [f"${TIME}", width_ms]}}
    found: Counter[tuple[datetime, Texts]] = Counter()
    for group in _groups(database, [*stages, _grouped(bucket, _PATHS.values())]):
        found[from_ms(int(group["by"]) * width_ms), _texts(group)] += group["n"]
    return found


def _counted(found: Mapping[tuple[datetime, Texts], int], kinds: _Kinds, users: int) -> Counts:
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    sums: Mapping[str, Counter[str]] = {each.plural: Counter() for each in DIMENSIONS}
    in_all: Mapping[str, Counter[str]] = {name: Counter() for name in FILTERS}
    for (at, texts), n in found.items():
        of, passes = kinds[texts]
        for name in FILTERS:
            in_all[name][of[name]] += n
        if passes:
            by_bucket[at, of[_VERSIONS]] += n
            for name, label in of.items():
                sums[name][label] += n
    return Counts(
        by_bucket=by_bucket,
        by_value={each.plural: sums[each.plural] for each in CHARTS},
        users=min(users, by_bucket.total()),
        options={name: labels.offered(in_all[name], kinds.wanted.selected(name)) for name in FILTERS},
    )


def users(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Mapping[int, int], most: int
) -> int:
    """Return the number of different users among the newest events of the window that pass the filter."""
    # The labels of a dimension in cells depend on the others.
    names = tuple(dict.fromkeys([*IN_CELLS, *wanted.names])) if wanted else ()
    kinds = _Kinds(wanted, numbers, names)
    paths = [_PATHS[name] for name in names]
    stages = [*newest(window, most), {"$match": candidates(wanted)}, _grouped(_value(USER), paths)]
    return len({_user(group) for group in _groups(database, stages) if kinds[_texts(group)].passes})


def passing_events(
    events: Sequence[dict[str, Any]], wanted: Filter, numbers: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Return the events that pass the filter; they must have the fields of all dimensions."""
    kinds = _Kinds(wanted, numbers)
    return [event for event in events if not wanted or kinds[_texts_of(event)].passes]


def _texts_of(event: Document) -> Texts:
    return tuple([text_of(value_at(event, path)) for path in _PATHS.values()])


def query(window: Window) -> Document:
    """Return the query for the events of a window; it uses the index on event_timestamp."""
    return {TIME: {"$gte": to_ms(window.start), "$lt": to_ms(window.end)}}


def newest(window: Window, most: int) -> list[Document]:
    """Return the stages that read the newest events of a window."""
    return [{"$match": query(window)}, {"$sort": {TIME: pymongo.DESCENDING}}, {"$limit": most}]


def _grouped(by: Any, paths: Iterable[str]) -> Document:
    values = {f"v{at}": _value(path) for at, path in enumerate(paths)}
    return {"$group": {"_id": {"by": by, **values}, "n": {"$sum": 1}}}


def _value(path: str) -> Any:
    """The expression for the value at a path: a text as it is, another value with its type.

    MongoDB takes 1 and 1.0 for equal, and their texts differ. A path does not lead into arrays.
    """
    value, parent = f"${path}", f"${path.rpartition('.')[0]}"
    typed: Any = {"$cond": [{"$eq": [{"$type": value}, "string"]}, value, [value, {"$type": value}]]}
    return typed if parent == "$" else {"$cond": [{"$eq": [{"$type": parent}, "object"]}, typed, None]}


def _groups(database: Database[dict[str, Any]], stages: Sequence[Document]) -> Iterator[dict[str, Any]]:
    for group in database["events"].aggregate(stages, batchSize=_BATCH):
        yield {**group["_id"], "n": group["n"]}


def _texts(group: Document) -> Texts:
    return tuple([_text(value) for name, value in group.items() if name[0] == "v"])


def _text(value: Any) -> str | None:
    return value if value is None or type(value) is str else text_of(value[0])


def _user(group: Document) -> str:
    user = group["by"]
    value = user if type(user) is str else user[0]
    return "" if value is None else str(value)


def candidates(wanted: Filter) -> Document:
    """Return the condition that all events that pass the filter meet, and few others."""
    fields = [_candidates_of(_PATHS[name], wanted.selected(name)) for name in wanted.names]
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
