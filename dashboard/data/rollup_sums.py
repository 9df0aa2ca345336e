"""Sum rollups of several partitions and buckets to Counts; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from dashboard.model import labels
from dashboard.model.snapshot import FILTERS, Counts, Filter
from streamapp.model.user_event import CHARTS, SCHEMA_VERSION
from streamapp.rollups.keys import MAPS, keys_of, value_of
from streamapp.rollups.rollup import unique, unique_up_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from dashboard.model.time_window import Window

    #: A half-open interval without rollups.
    Gap = tuple[datetime, datetime]

Document = dict[str, Any]
Key = TypeVar("Key")
#: In place of a map that was not read, or that is absent.
_NO_COUNTS: Document = {}
_VERSIONS = SCHEMA_VERSION.plural


def counts(rollups: Sequence[Document], wanted: Filter) -> Counts:
    """Return the events of these rollups that pass the filter."""
    return _of_cells(rollups, wanted) if wanted else _of_maps(rollups, unique(map(_users, rollups)))


def of_window(rollups: Sequence[Document], window: Window, wanted: Filter) -> tuple[Counts, Counts]:
    """Return the events of the window, and those of its finished buckets, each rollup summed once."""
    finished = between(rollups, window.start, window.finished_end)
    running = between(rollups, window.finished_end, window.end)
    if wanted:
        first, rest = _of_cells(finished, wanted), _of_cells(running, wanted)
        return _joined(first, rest, None), first
    users, users_in_all = unique_up_to([map(_users, finished), map(_users, running)])
    first = _of_maps(finished, users)
    return _joined(first, _of_maps(running, 0), round(users_in_all)), first


def between(rollups: Iterable[Document], start: datetime, end: datetime) -> list[Document]:
    """Return the rollups of the buckets in the period."""
    return [rollup for rollup in rollups if start <= rollup["bucket"] < end]


def gaps(rollups: Iterable[Document], window: Window) -> Sequence[Gap]:
    """Return the parts of the window, and of the period before it, in which no bucket has a rollup."""
    held = {rollup["bucket"] for rollup in rollups}
    found: list[Gap] = []
    at = window.previous_start
    while at < window.end:
        after = at + window.width
        if at not in held:
            start = found.pop()[0] if found and found[-1][1] == at else at
            found.append((start, after))
        at = after
    return found


def _joined(one: Counts, other: Counts, users: int | None) -> Counts:
    options = {name: tuple(sorted({*one.options[name], *other.options[name]})) for name in FILTERS}
    return Counts(
        by_bucket=_added(one.by_bucket, other.by_bucket),
        by_value={name: _added(by_label, other.by_value[name]) for name, by_label in one.by_value.items()},
        users=users,
        options=options,
    )


def _added(one: Mapping[Key, int], other: Mapping[Key, int]) -> Mapping[Key, int]:
    added = Counter(one)
    added.update(other)
    return added


def _users(rollup: Document) -> bytes:
    return rollup["users"]


def _of_maps(rollups: Sequence[Document], users: float) -> Counts:
    maps = {name: _summed(rollups, name) for name in MAPS}
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    for rollup in rollups:
        for key, n in rollup[_VERSIONS].items():
            by_bucket[rollup["bucket"], key] += n
    return Counts(
        by_bucket=_by_label(by_bucket),
        by_value={each.plural: _completed(maps[each.plural], by_bucket.total()) for each in CHARTS},
        users=round(users),
        options={name: tuple(sorted(maps[name])) for name in FILTERS},
    )


def _completed(by_label: Mapping[str, int], total: int) -> Mapping[str, int]:
    """The counts, and the events that no rollup counts by this dimension, since it is newer than the rollup."""
    missing = total - sum(by_label.values())
    return {**by_label, labels.NOT_COUNTED: missing} if missing > 0 else by_label


def _summed(rollups: Iterable[Document], name: str) -> Counter[str]:
    keys: dict[str, int] = {}
    for rollup in rollups:
        for key, n in rollup.get(name, _NO_COUNTS).items():
            keys[key] = keys.get(key, 0) + n
    found: Counter[str] = Counter()
    for key, n in keys.items():
        found[_label(name, key)] += n
    return found


def _by_label(by_key: Mapping[tuple[datetime, str], int]) -> Counter[tuple[datetime, str]]:
    known = {key: _label(_VERSIONS, key) for key in {key for _, key in by_key}}
    found: Counter[tuple[datetime, str]] = Counter()
    for (bucket, key), n in by_key.items():
        found[bucket, known[key]] += n
    return found


def _label(name: str, key: str) -> str:
    return (labels.version if name == _VERSIONS else labels.value)(value_of(key))


def _of_cells(rollups: Sequence[Document], wanted: Filter) -> Counts:
    options: dict[str, set[str]] = {name: set(wanted.selected(name)) for name in FILTERS}
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    sums: dict[str, Counter[str]] = {name: Counter() for name in FILTERS}
    known: dict[str, Mapping[str, str] | None] = {}
    for rollup in rollups:
        for cell, n in rollup["cells"].items():
            if cell not in known:
                known[cell] = _passing(cell, wanted, options)
            if event := known[cell]:
                by_bucket[rollup["bucket"], event[_VERSIONS]] += n
                for name, label in event.items():
                    sums[name][label] += n
    return Counts(
        by_bucket=by_bucket,
        by_value={each.plural: sums.get(each.plural, {}) for each in CHARTS},
        users=None,
        options={name: tuple(sorted(found)) for name, found in options.items()},
    )


def _passing(cell: str, wanted: Filter, options: Mapping[str, set[str]]) -> Mapping[str, str] | None:
    """The labels of a cell, None if it does not pass the filter; adds the labels to the options."""
    event = {name: _label(name, key) for name, key in zip(FILTERS, keys_of(cell), strict=True)}
    for name, label in event.items():
        if label != labels.NOT_COUNTED:
            options[name].add(label)
    return event if all(_is_in(label, wanted.selected(name)) for name, label in event.items()) else None


def _is_in(label: str, selected: Sequence[str]) -> bool:
    return not selected or label in selected
