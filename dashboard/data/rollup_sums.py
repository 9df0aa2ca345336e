"""Sum rollups of several partitions and buckets to Counts; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dashboard.data.cell_sums import of_cells
from dashboard.model import labels
from dashboard.model.snapshot import FILTERS, USUAL_NUMBERS, Counts, Filter
from streamapp.model.user_event import CHARTS, DIMENSIONS, SCHEMA_VERSION
from streamapp.rollups import frequent
from streamapp.rollups.frequent import Bounds
from streamapp.rollups.keys import NULL, OTHER
from streamapp.rollups.rollup import union, unique, unique_up_to

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from datetime import datetime

    from dashboard.model.time_window import Window
    from streamapp.model.user_event import Dimension

    #: A half-open interval without rollups.
    Gap = tuple[datetime, datetime]

Document = dict[str, Any]
Key = TypeVar("Key")
Numbers = Mapping[int, int]
#: In place of a map that was not read, or that is absent.
_NO_COUNTS: Document = {}
_VERSIONS = SCHEMA_VERSION.plural
_NOTHING_BY_VALUE: Mapping[str, Mapping[str, int]] = {each.plural: {} for each in CHARTS}


class Sums(NamedTuple):
    """The events of some rollups that pass a filter, as far as they can be added to those of other rollups."""

    #: Without users and options.
    counts: Counts
    #: By the names of FILTERS: how many events have each label, whatever the filter.
    in_all: Mapping[str, Mapping[str, int]]
    #: A sketch of the users; None under a filter.
    users: bytes | None = None


def sums(rollups: Sequence[Document], wanted: Filter, numbers: Numbers = USUAL_NUMBERS) -> Sums:
    """Return the events of these rollups that pass the filter.

    Args:
        rollups: documents, each with its bucket as an instant.
        wanted: the filter.
        numbers: the number that each version of the event has under the subject.
    """
    if wanted:
        return _filtered(rollups, wanted, numbers)
    return _of_maps(rollups, numbers)


def counts(parts: Sequence[Sums], wanted: Filter) -> Counts:
    """Return the sum of parts."""
    return _joined(parts, wanted, None if wanted else unique(map(_users, parts)))


def of_window(finished: Sequence[Sums], running: Sequence[Sums], wanted: Filter) -> tuple[Counts, Counts]:
    """Return the events of the window, and those of its finished buckets."""
    both = [*finished, *running]
    if wanted:
        return _joined(both, wanted, None), _joined(finished, wanted, None)
    users, users_in_all = unique_up_to([map(_users, finished), map(_users, running)])
    return _joined(both, wanted, users_in_all), _joined(finished, wanted, users)


def gaps(held: Container[datetime], window: Window) -> Sequence[Gap]:
    """Return the parts of the window, and of the period before it, in which no bucket has a rollup."""
    found: list[Gap] = []
    at = window.previous_start
    while at < window.end:
        after = at + window.width
        if at not in held:
            start = found.pop()[0] if found and found[-1][1] == at else at
            found.append((start, after))
        at = after
    return found


def _filtered(rollups: Sequence[Document], wanted: Filter, numbers: Numbers) -> Sums:
    if wanted.is_in_cells:
        return Sums(*of_cells(rollups, wanted, numbers))
    standalone = [each for each in DIMENSIONS if each.plural in wanted.names and not each.in_cells]
    if len(wanted.names) == len(standalone) == 1:
        return Sums(_of_map(rollups, standalone[0], wanted, numbers), {})
    # Several maps, none of which tells which events are in the others too: not more than in any of them.
    bounds = [
        of_cells(rollups, wanted, numbers)[0],
        *(_of_map(rollups, each, wanted, numbers) for each in standalone),
    ]
    most = min(each.total + each.possible for each in bounds)
    return Sums(Counts(by_bucket={}, by_value=_NOTHING_BY_VALUE, users=None, options={}, possible=most), {})


def _of_map(rollups: Sequence[Document], dimension: Dimension, wanted: Filter, numbers: Numbers) -> Counts:
    """The events that have one of the selected labels, by the map of their dimension; others are unknown."""
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    by_label: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    possible, chosen = 0, wanted.selected(dimension.plural)
    of_buckets: dict[datetime, list[Document]] = {}
    for rollup in rollups:
        of_buckets.setdefault(rollup["bucket"], []).append(rollup)
    for bucket, of_bucket in of_buckets.items():
        summed = _summed(of_bucket, dimension, numbers)
        found = {label: summed.by_label[label] for label in chosen if label not in labels.NO_VALUES}
        by_label.update(found)
        by_bucket[bucket, labels.NOT_COUNTED] += sum(found.values())
        in_addition = {label: summed.errors.get(label, summed.errors.get(labels.OTHER, 0)) for label in found}
        errors.update(in_addition)
        possible += min(sum(in_addition.values()), summed.by_label[labels.OTHER])
    return Counts(
        by_bucket=+by_bucket,
        by_value={**_NOTHING_BY_VALUE, dimension.plural: {key: n for key, n in by_label.items() if n or errors[key]}},
        users=None,
        options={},
        # Other labels do not pass the filter.
        errors={dimension.plural: {**errors, labels.OTHER: 0}} if errors.total() else {},
        possible=possible,
    )


def _joined(parts: Sequence[Sums], wanted: Filter, users: float | None) -> Counts:
    parts = parts or [sums((), wanted)]
    of_parts, in_all = [part.counts for part in parts], [part.in_all for part in parts]
    return Counts(
        by_bucket=_added(each.by_bucket for each in of_parts),
        by_value={chart.plural: _added(each.by_value[chart.plural] for each in of_parts) for chart in CHARTS},
        users=None if users is None else round(users),
        options={
            name: labels.offered(_added(each.get(name, _NO_COUNTS) for each in in_all), wanted.selected(name))
            if name in in_all[0]
            else ()
            for name in FILTERS
        },
        errors=_errors_of_all(of_parts),
        possible=sum(each.possible for each in of_parts),
    )


def _errors_of_all(parts: Sequence[Counts]) -> Mapping[str, Mapping[str, int]]:
    inexact = [each for each in parts if each.errors]
    return {
        name: {
            label: sum(each.error(name, label) for each in inexact)
            for label in {labels.OTHER}.union(*(each.errors.get(name, ()) for each in inexact))
        }
        for name in {name for each in inexact for name in each.errors}
    }


def _added(parts: Iterable[Mapping[Key, int]]) -> Mapping[Key, int]:
    added = dict[Key, int]()
    for part in parts:
        for key, n in part.items():
            added[key] = added.get(key, 0) + n
    return added


def _users(part: Sums) -> bytes:
    return part.users or b""


def _of_maps(rollups: Sequence[Document], numbers: Numbers) -> Sums:
    by_name = {each.plural: _summed(rollups, each, numbers) for each in DIMENSIONS}
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    for rollup in rollups:
        for key, n in rollup[_VERSIONS].items():
            by_bucket[rollup["bucket"], key] += n
    by_version = _by_label(by_bucket)
    found: Mapping[str, Mapping[str, int]] = {
        **{name: each.by_label for name, each in by_name.items()},
        _VERSIONS: Counter(),
    }
    for (_, version), n in by_version.items():
        found[_VERSIONS][version] += n
    counted = Counts(
        by_bucket=by_version,
        by_value={each.plural: _completed(found[each.plural], by_version.total()) for each in CHARTS},
        users=None,
        options={},
        errors={each.plural: by_name[each.plural].errors for each in CHARTS if by_name[each.plural].errors},
    )
    return Sums(counted, found, union(rollup["users"] for rollup in rollups))


def _completed(by_label: Mapping[str, int], total: int) -> Mapping[str, int]:
    """The counts, and the events that no rollup counts by this dimension, since it is newer than the rollup."""
    missing = total - sum(by_label.values())
    return {**by_label, labels.NOT_COUNTED: missing} if missing > 0 else by_label


class _Summed(NamedTuple):
    by_label: Counter[str]
    #: Empty if the counts are exact; OTHER: the error of each label without a count.
    errors: Mapping[str, int]


def _summed(rollups: Sequence[Document], dimension: Dimension, numbers: Numbers) -> _Summed:
    name, keys = dimension.plural, dict[str, int]()
    for rollup in rollups:
        for key, n in rollup.get(name, _NO_COUNTS).items():
            keys[key] = keys.get(key, 0) + n
    by_label = Counter({labels.of_key(key): n for key, n in keys.items()})
    errors = {labels.of_key(key): n for key, n in _errors(rollups, name).items()} if OTHER in keys else {}
    if dimension.is_optional:
        _split_null(by_label, errors, [_nulls(rollup, dimension, numbers) for rollup in rollups], dimension)
    return _Summed(+by_label, errors)


class _Nulls(NamedTuple):
    """The events of a rollup whose value is null."""

    n: int
    #: Of those: whose schema does not have the field, and whose schema has it.
    absent: Bounds
    not_given: Bounds


def _split_null(by_label: Counter[str], errors: dict[str, int], nulls: Sequence[_Nulls], dimension: Dimension) -> None:
    """Count null by its two labels, and where it is not known which one, as OTHER."""
    absent, given = sum(each.absent.least for each in nulls), sum(each.not_given.least for each in nulls)
    by_label[labels.NOT_GIVEN], by_label[dimension.absent_label] = given, absent
    if unknown := sum(each.n for each in nulls) - absent - given:
        by_label[labels.OTHER] += unknown
        errors.setdefault(labels.OTHER, 0)
    if errors:
        errors[dimension.absent_label] = sum(each.absent.most for each in nulls) - absent
        errors[labels.NOT_GIVEN] = sum(each.not_given.most for each in nulls) - given


def _nulls(rollup: Document, dimension: Dimension, numbers: Numbers) -> _Nulls:
    null = _bounds(rollup, dimension.plural, [NULL])
    lacking = _bounds(rollup, _VERSIONS, (f"v{number}" for number in range(1, numbers[dimension.since])))
    absent = Bounds(min(null.least, lacking.least), min(null.most, lacking.most))
    return _Nulls(
        n=null.least,
        absent=absent,
        not_given=Bounds(max(null.least - lacking.most, 0), null.most - absent.least),
    )


def _bounds(rollup: Document, name: str, keys: Iterable[str]) -> Bounds:
    """The bounds of the number of events that have one of these keys."""
    counts = rollup.get(name, _NO_COUNTS)
    errors = frequent.errors_of(counts, rollup.get("errors", _NO_COUNTS).get(name))
    found = [frequent.bounds(counts, errors, key) for key in keys]
    least = sum(each.least for each in found)
    # More than are counted as OTHER can be none of them.
    return Bounds(least, min(least + counts.get(OTHER, 0), sum(each.most for each in found)))


def _errors(rollups: Sequence[Document], name: str) -> Mapping[str, int]:
    """How many events each key can have in addition; OTHER: each key without a count."""
    in_all, held = 0, dict[str, int]()
    for rollup in rollups:
        if OTHER not in (found := rollup.get(name, _NO_COUNTS)):
            continue
        errors = frequent.errors_of(found, rollup.get("errors", _NO_COUNTS).get(name))
        absent = errors.get(OTHER, 0)
        in_all += absent
        for key in found:
            held[key] = held.get(key, 0) + errors.get(key, 0) - absent
    return {**{key: in_all + difference for key, difference in held.items()}, OTHER: in_all}


def _by_label(by_key: Mapping[tuple[datetime, str], int]) -> Counter[tuple[datetime, str]]:
    known = {key: labels.of_version_key(key) for key in {key for _, key in by_key}}
    found: Counter[tuple[datetime, str]] = Counter()
    for (bucket, key), n in by_key.items():
        found[bucket, known[key]] += n
    return found
