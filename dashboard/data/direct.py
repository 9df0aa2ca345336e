"""Count events in `events` itself: where rollups lack them, and users under a filter.

MongoDB groups the events by their values, and the groups are labelled here, by the definitions of the rollups: so both
count the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import pymongo

from dashboard.data.cell_sums import labels_of
from dashboard.model import labels
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
_NAMES_TO = [path.split(".") for path in _PATHS.values()]
#: The dimensions.
NAMES = tuple(_PATHS)
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

    def __init__(self, wanted: Filter, numbers: Mapping[int, int], names: Iterable[str] = NAMES) -> None:
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


class Group(NamedTuple):
    """Events with the same values in the same bucket."""

    bucket: datetime
    texts: Texts
    #: None where events are not grouped by it.
    user: str | None
    n: int


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
    found = summed(groups(database, newest(window, most), window.level.width_ms), wanted, numbers)
    return counted(found, wanted, numbers), found.by_value.total()


def groups(
    database: Database[dict[str, Any]],
    stages: Sequence[Document],
    width_ms: int,
    names: Iterable[str] = NAMES,
    *,
    by_user: bool = True,
) -> Iterator[Group]:
    """Return the events that the stages read, grouped by bucket, values of the dimensions, and user."""
    values = {f"v{at}": _value(_PATHS[name]) for at, name in enumerate(names)}
    user = {"user": _value(USER)} if by_user else {}
    bucket = {"$floor": {"$divide": [f"${TIME}", width_ms]}}
    by = {"bucket": bucket, **user, **values}
    grouped = [*stages, {"$group": {"_id": by, "n": {"$sum": 1}}}]
    buckets: dict[float, datetime] = {}
    for found in database["events"].aggregate(grouped, batchSize=_BATCH):
        group, number = found["_id"], found["_id"]["bucket"]
        at = buckets.get(number) or buckets.setdefault(number, from_ms(int(number) * width_ms))
        texts = tuple([_text(group[name]) for name in values])
        yield Group(at, texts, _user(group["user"]) if by_user else None, found["n"])


class GroupSums(NamedTuple):
    """Groups, added."""

    by_value: Counter[tuple[datetime, Texts]]
    #: Of the events that pass the filter.
    users: AbstractSet[str]


def summed(
    found: Iterable[Group], wanted: Filter, numbers: Mapping[int, int], names: Iterable[str] = NAMES
) -> GroupSums:
    """Return the events of groups by their values, and the users of those that pass the filter.

    The groups have the values of these dimensions.
    """
    kinds = _Kinds(wanted, numbers, names)
    by_value: Counter[tuple[datetime, Texts]] = Counter()
    users = set[str]()
    for bucket, texts, user, n in found:
        by_value[bucket, texts] += n
        if user is not None and kinds[texts].passes:
            users.add(user)
    return GroupSums(by_value, users)


def counted(found: GroupSums, wanted: Filter, numbers: Mapping[int, int]) -> Counts:
    """Return the events that pass the filter, given those by the values of all dimensions."""
    kinds = _Kinds(wanted, numbers)
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    sums: Mapping[str, Counter[str]] = {each.plural: Counter() for each in DIMENSIONS}
    in_all: Mapping[str, Counter[str]] = {name: Counter() for name in FILTERS}
    for (at, texts), n in found.by_value.items():
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
        users=len(found.users),
        options={name: labels.offered(in_all[name], wanted.selected(name)) for name in FILTERS},
    )


def names_for(wanted: Filter) -> Sequence[str]:
    """Return the dimensions that tell whether an event passes a filter."""
    # The labels of a dimension in cells depend on the others.
    return tuple(dict.fromkeys([*IN_CELLS, *wanted.names])) if wanted else ()


def passing(texts: Iterable[Texts], wanted: Filter, numbers: Mapping[int, int]) -> Iterator[bool]:
    """Yield whether each event passes a filter, given its texts of all dimensions."""
    kinds = _Kinds(wanted, numbers)
    return (kinds[of_event].passes for of_event in texts) if wanted else repeat(True)  # noqa: FBT003 - each of them


def texts_of(event: Document) -> Texts:
    """Return the texts of an event, one of each dimension."""
    texts: list[str | None] = []
    for names in _NAMES_TO:
        value: Any = event
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        texts.append(value if type(value) is str else text_of(value))
    return tuple(texts)


def query(window: Window) -> Document:
    """Return the query for the events of a window; it uses the index on event_timestamp."""
    return {TIME: {"$gte": to_ms(window.start), "$lt": to_ms(window.end)}}


def newest(window: Window, most: int) -> list[Document]:
    """Return the stages that read the newest events of a window."""
    return [{"$match": query(window)}, {"$sort": {TIME: pymongo.DESCENDING}}, {"$limit": most}]


def _value(path: str) -> Any:
    """The expression for the value at a path: a text as it is, another value with its type.

    MongoDB takes 1 and 1.0 for equal, and their texts differ. A path does not lead into arrays.
    """
    value, parent = f"${path}", f"${path.rpartition('.')[0]}"
    typed: Any = {"$cond": [{"$eq": [{"$type": value}, "string"]}, value, [value, {"$type": value}]]}
    return typed if parent == "$" else {"$cond": [{"$eq": [{"$type": parent}, "object"]}, typed, None]}


def _text(value: Any) -> str | None:
    return value if value is None or type(value) is str else text_of(value[0])


def _user(user: Any) -> str:
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
