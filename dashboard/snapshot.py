"""What is read (Overview, Counts) and what is shown (Snapshot); values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dashboard.timeplan import Range, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What is known of the whole collection, at a cost that does not grow with it."""

    all_time: int
    all_time_is_exact: bool
    last_received_at: datetime | None
    newest_event_at: datetime | None
    v2_version: int
    """The version that user_event_v2.avsc has under the subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Events of one window, counted; None stands for a field without a value."""

    by_bucket: Mapping[tuple[datetime, str | None], int]
    """Keyed by bucket and schema version."""
    by_type: Mapping[str | None, int]
    by_browser: Mapping[tuple[str | None, str | None], int]
    """Keyed by browser and schema version."""
    by_device: Mapping[str | None, int]
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the events, and of how many."""

    label: str
    n: int
    of: int

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
class Snapshot:
    """Everything that the page shows of one range, as of one instant."""

    chosen: Range
    window: Window
    read_at: datetime
    overview: Overview
    total: int
    users: int
    adoption: Part | None
    """None over no event with a registered version: the share is then unknown, not 0."""
    main_action: Part | None
    volume: tuple[Series, ...]
    types: tuple[Part, ...]
    browsers: tuple[Part, ...]
    devices: tuple[Part, ...]
