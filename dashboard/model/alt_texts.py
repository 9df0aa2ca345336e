"""Alternative texts of the charts: each says in a sentence what its chart shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.model import formatting
from streamapp.model.user_event import ADOPTED_VERSION

if TYPE_CHECKING:
    from datetime import tzinfo

    from dashboard.model.health import Point
    from dashboard.model.snapshot import Part, Snapshot


def trend(title: str, points: tuple[Point, ...], unit: str, span: str) -> str:
    """Return what a trend of the last minutes or hours says, in a sentence."""
    known = [value for _, value in points if value is not None]
    if not known:
        return f"{title}, last {span}: {formatting.UNKNOWN}."
    now, most = formatting.amount(known[-1], unit), formatting.amount(max(known), unit)
    return f"{title}, last {span}: now {now}, at most {most}."


def volume(shown: Snapshot, zone: tzinfo, *, compares: bool = False) -> str:
    """Return what the chart over time says, in a sentence."""
    buckets = shown.window.buckets
    sums = [sum(column) for column in zip(*(series.per_bucket for series in shown.volume), strict=True)]
    if not sums:
        return "Events over time: none."
    peak = max(range(len(sums)), key=sums.__getitem__)
    versions = ", ".join(f"{series.version} {formatting.number(sum(series.per_bucket))}" for series in shown.volume)
    total = formatting.count(shown.total, shown.total + shown.possible)
    known = [n for n in shown.before if n is not None]
    before = f" The period before: {formatting.number(sum(known))}." if compares and shown.before else ""
    return (
        f"Events over time: {total} in the {shown.query.chosen.words}, {versions}; "
        f"most in the {shown.window.bucket_words} from {buckets[peak].astimezone(zone):%Y-%m-%d %H:%M} "
        f"{formatting.zone_name(zone)}, {formatting.number(sums[peak])}.{before}"
    )


def adoption(shown: Snapshot) -> str:
    """Return what the chart of the adoption says, in a sentence."""
    title = f"V{ADOPTED_VERSION} adoption over time"
    known = [share for share in shown.adopted if share is not None]
    if not known:
        return f"{title}: no events with a registered version."
    return f"{title}: from {formatting.percent(known[0])} to {formatting.percent(known[-1])}."


def bars(title: str, parts: tuple[Part, ...]) -> str:
    """Return what a chart of parts says, in a sentence."""
    described = ", ".join(f"{part.label} {formatting.part_bounds(part)}" for part in parts) or "none"
    return f"{title}: {described}."
