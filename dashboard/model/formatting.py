"""Format numbers, instants and sentences for the page, the same in every browser's locale; pure."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from dashboard.model.snapshot import NEW

if TYPE_CHECKING:
    from datetime import datetime, timedelta, tzinfo

    from dashboard.model.snapshot import Part, Users
    from dashboard.model.time_window import Window

# Characters that Streamlit shows unchanged; others could be read as Markdown.
_HARMLESS = re.compile(r"[^\W_](?:[\w.-]*[^\W_])?")

UNKNOWN = "unknown"
NONE = "–"


def literal(text: str) -> str:
    """Return the Markdown that shows this text."""
    if _HARMLESS.fullmatch(text):
        return text
    return re.sub(r"([^\w\s])|(_)", r"\\\1\2", text, flags=re.ASCII)


def number(n: int) -> str:
    """Return the number in full digits with thousands separators."""
    return f"{n:,}"


def amount(value: float | None, unit: str) -> str:
    """Return the value with its unit, or "unknown"; without a unit it is a count."""
    if value is None:
        return UNKNOWN
    return f"{value:,.1f} {unit}" if unit else f"{value:,.0f}"


def percent(share: float) -> str:
    """Return the share in percent; never 0 % or 100 % when it is not quite that."""
    if 0 < share < 0.001:  # noqa: PLR2004 - below what one decimal can show
        return "<0.1%"
    if 0.999 < share < 1:  # noqa: PLR2004
        return ">99.9%"
    return f"{share:.1%}"


def instant(at: datetime, *, today: datetime, zone: tzinfo = UTC) -> str:
    """Return the instant in a zone, with its day when that is not today's."""
    return f"{clock(at, today=today, zone=zone)} {zone_name(zone)}"


def clock(at: datetime, *, today: datetime, zone: tzinfo = UTC) -> str:
    """Return the instant as `instant` does, without the name of the zone."""
    at, today = at.astimezone(zone), today.astimezone(zone)
    return f"{at:%H:%M:%S}" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M:%S}"


def zone_name(zone: tzinfo) -> str:
    """Return what a zone is called, such as "Europe/Berlin"."""
    return str(zone)


def age(span: timedelta) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def duration(span: timedelta) -> str:
    """Return how long something takes, in its largest unit."""
    return age(span).removesuffix(" ago")


def seconds(n: float) -> str:
    """Return a duration: milliseconds below a second, else seconds or minutes."""
    if n < 1:
        return f"{n * 1_000:,.0f} ms"
    return f"{n:,.1f} s" if n < 120 else f"{n / 60:,.0f} min"  # noqa: PLR2004 - two minutes


def window(shown: Window, zone: tzinfo = UTC) -> str:
    """Return from when to when the shown window goes."""
    start, end = shown.start.astimezone(zone), shown.end.astimezone(zone)
    is_one_day = start.date() == end.date()
    first = f"{start:%H:%M}" if is_one_day and shown.is_running else f"{start:%Y-%m-%d %H:%M}"
    last = "now" if shown.is_running else f"{end:%H:%M}" if is_one_day else f"{end:%Y-%m-%d %H:%M}"
    return f"from {first} to {last}, {zone_name(zone)}"


def change(share: float | None) -> str | None:
    """Return a relative change in percent."""
    if share == NEW:
        return "new"
    return None if share is None else f"{share:+.1%}" if abs(share) < 10 else f"{share:+,.0%}"  # noqa: PLR2004


def points(difference: float | None) -> str | None:
    """Return a difference of shares in percentage points."""
    return None if difference is None else f"{difference * 100:+.1f} pp"


def users(shown: Users) -> str:
    """Return how many, marked when it is an estimate."""
    return number(shown.n) if shown.is_exact else f"~{number(shown.n)}"


def all_time(n: int, *, is_exact: bool) -> str:
    """Return the total over all time, marked when it is MongoDB's estimate."""
    return f"{number(n)} all time" if is_exact else f"≈ {number(n)} all time"


def count(least: int, most: int) -> str:
    """Return a number of which bounds are known: with ≥ or ≤ if they are not equal."""
    if least == most:
        return number(least)
    return f"≥ {number(least)}" if least else f"≤ {number(most)}"


def between(least: int, most: int) -> str:
    """Return a number of which bounds are known, with both of them."""
    return number(least) if least == most else f"{number(least)} to {number(most)}"


def part(shown: Part) -> str:
    """Return a part in numbers, marked where they are not exact."""
    if not shown.error:
        return f"{number(shown.n)} · {percent(shown.share)}"
    return f"{'≥' if shown.error > 0 else '≤'} {number(shown.n)} · ~{percent(shown.share)}"


def part_bounds(shown: Part) -> str:
    """Return a part in numbers, with both bounds where it is not exact."""
    return f"{between(shown.least, shown.most)} · {share(shown)}"


def share(shown: Part) -> str:
    """Return a part in percent, with both bounds where it is not exact."""
    least, most = percent(shown.least / shown.of), percent(min(shown.most / shown.of, 1.0))
    if not shown.error:
        return least
    return f"~{least}" if least == most else f"{least} to {most}"
