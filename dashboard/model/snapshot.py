"""The values of the page: the query, what is read (Overview, Counts) and what is shown (Snapshot)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from dashboard.model import labels
from streamapp.model.user_event import CELL_DIMENSIONS, DIMENSIONS, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dashboard.model.time_window import Range, Window

    #: A version, and the event times of its first and its last event.
    VersionTime = tuple[str, datetime, datetime]

#: Names of the dimensions that are counted together, in the order of a rollup's cells.
IN_CELLS = tuple(each.plural for each in CELL_DIMENSIONS)
#: Names of the dimensions that can be filtered by: those in cells first.
FILTERS = tuple(each.plural for each in DIMENSIONS)
#: The number that each `user_event_v<version>.avsc` has under the subject, if no other schema was registered.
USUAL_NUMBERS = {version: version for version in VERSIONS}


class Filter:
    """For each dimension the labels of which an event must have one; none: any."""

    __slots__ = ("_selected",)

    def __init__(self, **selected: tuple[str, ...]) -> None:
        """Take labels by the names of FILTERS."""
        if unknown := {*selected} - {*FILTERS}:
            raise TypeError(f"no dimensions to filter by: {unknown}")
        self._selected = tuple(selected.get(name, ()) for name in FILTERS)

    def __bool__(self) -> bool:
        """Whether any label is selected."""
        return any(self._selected)

    def __eq__(self, other: object) -> bool:
        """Whether the other one selects the same labels."""
        return isinstance(other, Filter) and self._selected == other._selected

    def __hash__(self) -> int:
        """Be part of the key under which a reading is kept."""
        return hash(self._selected)

    def selected(self, name: str) -> tuple[str, ...]:
        """The labels of one dimension."""
        return self._selected[FILTERS.index(name)]

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions of which labels are selected."""
        return tuple(name for name in FILTERS if self.selected(name))

    @property
    def is_in_cells(self) -> bool:
        """Whether a rollup's cells tell which events pass."""
        return {*self.names} <= {*IN_CELLS}


ANY = Filter()
#: The change of a number that is much greater than that of the period before, which was small or 0.
NEW = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a visitor wants to see."""

    chosen: Range
    filter: Filter = ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Facts about the whole collection."""

    stored: int
    """Events, by MongoDB's count or, for many, its estimate."""
    rolled_up: int
    """Events in the rollups; read after `stored`, so that it is not less while all is well."""
    last_received_at: datetime | None
    newest_event_at: datetime | None
    numbers: Mapping[int, int] = field(default_factory=lambda: USUAL_NUMBERS)
    """The version that each `user_event_v<version>.avsc` has under the subject."""
    version_times: tuple[VersionTime, ...] = ()
    """Of the registered versions, in their order."""
    is_exact: bool = True
    """Whether `stored` was counted, or is no more than what the rollups count exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Events of one period, counted; by label."""

    by_bucket: Mapping[tuple[datetime, str], int]
    """Keyed by bucket and schema version."""
    by_value: Mapping[str, Mapping[str, int]]
    """By the name of each of CHARTS; empty where events are not counted by this dimension under a filter."""
    users: int | None
    """None: not known under this filter."""
    options: Mapping[str, tuple[str, ...]]
    """The labels of each of FILTERS, whatever the filter."""
    errors: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, "Mapping[str, int]"])
    """By the name of a chart whose counts are not exact: how many events a label can have in addition; OTHER: how many
    each label can have that has no entry."""
    possible: int = 0
    """Events that may pass the filter, in addition to those that are counted."""

    @property
    def total(self) -> int:
        """All its events."""
        return sum(self.by_bucket.values())

    @property
    def is_exact(self) -> bool:
        """Whether no count has an error."""
        return not self.possible and not self.errors

    def error(self, name: str, label: str) -> int:
        """How many events a label of a chart can have in addition to its count."""
        errors = self.errors.get(name, {})
        return errors.get(label, errors.get(labels.OTHER, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The newest events of a window, as many as are counted one by one."""

    counts: Counts
    """Those that pass the filter."""
    read: int
    """All of them."""
    is_cut: bool
    """The window has more events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """What was read of one window."""

    counts: Counts
    finished: Counts | None = None
    """Of the buckets that are finished; None when there is nothing to compare."""
    previous: Counts | None = None
    """Of as many buckets before it; without a filter by the main dimension and version only."""
    is_direct: bool = False
    """Counted in `events` itself, not in rollups."""
    is_cut: bool = False
    """There are more events than can be counted directly: only the newest are counted."""
    is_incomplete: bool = False
    """Events of the window are stored that the rollups lack."""
    users_are_counted: bool = False
    """Exact, not by sketches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the events, and of how many."""

    label: str
    n: int
    of: int
    error: int = 0
    """Events that it can have in addition; negative: events that it can have less."""

    @property
    def least(self) -> int:
        """The least number of events that it can have."""
        return self.n + min(self.error, 0)

    @property
    def most(self) -> int:
        """The greatest number of events that it can have."""
        return self.n + max(self.error, 0)

    @property
    def share(self) -> float:
        """The part as a fraction of the whole."""
        return self.n / self.of


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Events of one schema version, one number per bucket."""

    version: str
    per_bucket: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """How many different users."""

    n: int
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Against the previous period, finished buckets only; None where that is not known, NEW where it is too small."""

    total: float | None = None
    users: float | None = None
    adoption: float | None = None
    """In percentage points, like the next."""
    main_action: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the page shows of one query, as of one instant."""

    query: Query
    window: Window
    read_at: datetime
    overview: Overview
    found: QueryResult
    total: int
    """All events of the query; with a filter, those that are known to pass it."""
    possible: int
    """Events that may pass the filter, in addition to the total."""
    users: Users | None
    adoption: Part | None
    """None over no event with a registered version: the share is then unknown, not 0."""
    main_action: Part | None
    is_main_action_sure: bool
    """Whether no other value can have more events."""
    changes: Changes
    volume: tuple[Series, ...]
    before: tuple[int | None, ...]
    """Events of the period before in each bucket, None for the one that is still filling; empty if not comparable."""
    adopted: tuple[float | None, ...]
    """The adoption in each bucket."""
    marks: tuple[tuple[str, datetime], ...]
    """Versions whose first event lies in this window."""
    parts: Mapping[str, tuple[Part, ...]]
    """The bars of each of CHARTS, by its name; none where events are not counted by this dimension under a filter."""
