"""Sum the cells of rollups that pass a filter to Counts, with bounds where cells have OTHER for a value; pure.

A cell passes the filter if all its values are selected. It passes possibly if each value is selected or OTHER: then
some of its events may pass.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from dashboard.model import labels
from dashboard.model.snapshot import IN_CELLS, Counts
from streamapp.model.user_event import CELL_DIMENSIONS, CHARTS, SCHEMA_VERSION
from streamapp.rollups import frequent
from streamapp.rollups.keys import NULL, OTHER, keys_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from dashboard.model.snapshot import Filter

Document = dict[str, Any]
_NO_COUNTS: Document = {}
_VERSIONS = SCHEMA_VERSION.plural


class _Cell(NamedTuple):
    """What is known of a cell."""

    #: By dimension.
    keys: Mapping[str, str]
    labels: Mapping[str, str]
    #: Whether its events pass the filter, and whether they may, because OTHER is one of its labels.
    passes: bool
    may_pass: bool
    is_partial: bool


def of_cells(
    rollups: Sequence[Document], wanted: Filter, numbers: Mapping[int, int]
) -> tuple[Counts, Mapping[str, Mapping[str, int]]]:
    """Return the events of these rollups that pass the filter, and the labels of all; see `rollup_sums.sums`."""
    by_bucket: Counter[tuple[datetime, str]] = Counter()
    known = _Cells(wanted, numbers)
    in_all, passing = Counter[str](), Counter[str]()
    bounds = _Bounds(wanted)
    for rollup in rollups:
        found: Mapping[str, int] = rollup["cells"]
        is_partial = False
        for cell, n in found.items():
            in_all[cell] += n
            event = known[cell]
            is_partial = is_partial or event.is_partial
            if event.passes:
                passing[cell] += n
                by_bucket[rollup["bucket"], event.labels[_VERSIONS]] += n
        if is_partial:
            bounds.add(rollup, [(known[cell], n) for cell, n in found.items()])
    sums = _by_label(passing, known)
    counts = Counts(
        by_bucket=by_bucket,
        by_value={each.plural: sums.get(each.plural, {}) for each in CHARTS},
        users=None,
        options={},
        errors=bounds.errors,
        possible=bounds.possible,
    )
    return counts, _by_label(in_all, known)


class _Cells(dict[str, _Cell]):
    """What is known of each cell, found out once for all rollups."""

    def __init__(self, wanted: Filter, numbers: Mapping[int, int]) -> None:
        super().__init__()
        self._selected = {name: wanted.selected(name) for name in IN_CELLS}
        self._numbers = numbers

    def __missing__(self, cell: str) -> _Cell:
        keys = dict(zip(IN_CELLS, keys_of(cell), strict=True))
        of = labels_of(keys, self._numbers)
        chosen = {name for name, selected in self._selected.items() if not selected or of[name] in selected}
        others = {name for name in IN_CELLS if of[name] == labels.OTHER}
        passes = chosen.issuperset(IN_CELLS)
        may_pass = not passes and (chosen | others).issuperset(IN_CELLS)
        self[cell] = found = _Cell(keys, of, passes, may_pass, bool(others))
        return found


def labels_of(keys: Mapping[str, str], numbers: Mapping[int, int]) -> dict[str, str]:
    """Return the label of each dimension by which can be filtered, given the keys of an event."""
    version = labels.of_version_key(keys[_VERSIONS])
    found = {name: labels.of_key(keys[name]) for name in IN_CELLS}
    found[_VERSIONS] = version
    for each in CELL_DIMENSIONS:
        if found[each.plural] != labels.NOT_GIVEN or not each.is_optional:
            continue
        if version == labels.OTHER:  # the schema of the event can have the field or not
            found[each.plural] = labels.OTHER
        elif labels.is_absent(each, version, numbers):
            found[each.plural] = each.absent_label
    return found


def _by_label(cells: Mapping[str, int], known: _Cells) -> Mapping[str, Counter[str]]:
    sums: Mapping[str, Counter[str]] = {name: Counter() for name in IN_CELLS}
    for cell, n in cells.items():
        for name, label in known[cell].labels.items():
            sums[name][label] += n
    return sums


class _Bounds:
    """How many events can be added to the counts because their label in a cell is OTHER."""

    def __init__(self, wanted: Filter) -> None:
        self._selected = {name: chosen for name in IN_CELLS if (chosen := wanted.selected(name))}
        self.possible = 0
        self._absent: Counter[str] = Counter()
        self._held: Mapping[str, Counter[str]] = {each.plural: Counter() for each in CHARTS if each.in_cells}

    @property
    def errors(self) -> Mapping[str, Mapping[str, int]]:
        """As in Counts."""
        return {
            name: {**{label: absent + n for label, n in self._held[name].items()}, labels.OTHER: absent}
            for name, absent in self._absent.items()
            if absent or any(self._held[name].values())
        }

    def add(self, rollup: Document, cells: Sequence[tuple[_Cell, int]]) -> None:
        """Add the errors of one rollup."""
        missing = {name: _missing(rollup, cells, name) for name in IN_CELLS}
        possible = sum(n for cell, n in cells if cell.may_pass)
        for_values = sum(
            missing[name].get(label, missing[name][labels.OTHER])
            for name, chosen in self._selected.items()
            for label in chosen
        )
        possible = min(possible, for_values)
        self.possible += possible
        for name, held in self._held.items():
            others = sum(n for cell, n in cells if cell.passes and cell.labels[name] == labels.OTHER)
            absent = possible + min(others, missing[name][labels.OTHER])
            self._absent[name] += absent
            for label, n in missing[name].items():
                held[label] += possible + min(others, n) - absent


def _missing(rollup: Document, cells: Sequence[tuple[_Cell, int]], name: str) -> dict[str, int]:
    """How many events of each label no cell has; OTHER: of each label without an entry.

    No more than the bound in the map of the dimension less the events in cells, nor than there are in cells of OTHER.
    """
    counts: Mapping[str, int] = rollup.get(name, _NO_COUNTS)
    errors = frequent.errors_of(counts, rollup.get("errors", _NO_COUNTS).get(name))
    others, in_cells = 0, Counter[str]()
    for cell, n in cells:
        if cell.labels[name] == labels.OTHER:
            others += n
        else:
            in_cells[cell.keys[name]] += n
    found = {labels.OTHER: min(others, errors.get(OTHER, 0)), labels.UNREGISTERED: others}
    for key in {*counts, NULL} - {OTHER}:
        n = min(others, frequent.bounds(counts, errors, key).most - in_cells[key])
        of_key = labels.OF_NULL if key == NULL else {labels.of_key(key)} - {labels.UNREGISTERED}
        found.update(dict.fromkeys(of_key, n))
    return found
