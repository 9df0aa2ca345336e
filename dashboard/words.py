"""Numbers, instants and sentences as the page writes them, the same in every browser's locale; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from dashboard.snapshot import Part, Snapshot
    from dashboard.timeplan import Window

UNKNOWN = "unknown"
NONE = "–"


def number(n: int) -> str:
    """Return the number in full digits with thousands separators."""
    return f"{n:,}"


def percent(share: float) -> str:
    """Return the share in percent; never 0 % or 100 % when it is not quite that."""
    if 0 < share < 0.001:  # noqa: PLR2004 - below what one decimal can show
        return "<0.1%"
    if 0.999 < share < 1:  # noqa: PLR2004
        return ">99.9%"
    return f"{share:.1%}"


def instant(at: datetime, *, today: datetime) -> str:
    """Return the instant, with its day when that is not today's."""
    return f"{at:%H:%M:%S} UTC" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def age(span: timedelta) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def window(shown: Window) -> str:
    """Return from when to when the shown window goes."""
    start = f"{shown.start:%H:%M}" if shown.start.date() == shown.end.date() else f"{shown.start:%Y-%m-%d %H:%M}"
    return f"from {start} UTC to now"


def freshness(shown: Snapshot, now: datetime) -> str:
    """Return when the last event was received."""
    received_at = shown.overview.last_received_at
    return "last event: unknown" if received_at is None else f"last event received {age(now - received_at)}"


def all_time(n: int, *, is_exact: bool) -> str:
    """Return the total over all time, marked when it is MongoDB's estimate."""
    return f"{number(n)} all time" if is_exact else f"≈ {number(n)} all time"


def part(shown: Part) -> str:
    """Return a part in numbers."""
    return f"{number(shown.n)} · {percent(shown.share)}"
