"""From what was read to the Snapshot that is shown; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dashboard import labels
from dashboard.snapshot import Counts, Overview, Part, Series, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from dashboard.timeplan import Range, Window

MOST_BARS = 8


def snapshot(*, chosen: Range, window: Window, read_at: datetime, overview: Overview, counts: Counts) -> Snapshot:
    """Return all that the page shows."""
    total = sum(counts.by_bucket.values())
    types = _parts(_named(counts.by_type), total)
    return Snapshot(
        chosen=chosen,
        window=window,
        read_at=read_at,
        overview=overview,
        total=total,
        users=counts.users,
        adoption=_adoption(counts, overview.v2_version),
        main_action=next((part for part in types if part.label != labels.OTHER), None),
        volume=_volume(counts, window),
        types=types,
        browsers=_parts(_browsers(counts, overview.v2_version), total),
        devices=_parts(_named(counts.by_device), total),
    )


def _adoption(counts: Counts, v2_version: int) -> Part | None:
    registered: Counter[int] = Counter()
    for (_, version), n in counts.by_bucket.items():
        number = labels.version_number(version)
        if number is not None:
            registered[number] += n
    if not registered.total():
        return None
    adopted = sum(n for number, n in registered.items() if number >= v2_version)
    return Part(label="V2 or later", n=adopted, of=registered.total())


def _volume(counts: Counts, window: Window) -> tuple[Series, ...]:
    cells: Counter[tuple[datetime, str]] = Counter()
    for (bucket, version), n in counts.by_bucket.items():
        cells[bucket, _version_label(version)] += n
    versions = sorted({version for _, version in cells}, key=_version_order)
    return tuple(
        Series(version=version, per_bucket=tuple(cells[bucket, version] for bucket in window.buckets))
        for version in versions
    )


def _version_label(version: str | None) -> str:
    return version if version and labels.version_number(version) is not None else labels.UNREGISTERED


def _version_order(version: str) -> tuple[bool, int]:
    number = labels.version_number(version)
    return number is None, number or 0


def _browsers(counts: Counts, v2_version: int) -> Counter[str]:
    browsers: Counter[str] = Counter()
    for (browser, version), n in counts.by_browser.items():
        number = labels.version_number(version)
        # The writer's schema had no such field: that is another thing than a V2 event that leaves it empty.
        has_no_field = browser is None and number is not None and number < v2_version
        browsers[labels.NO_BROWSER_FIELD if has_no_field else browser or labels.NOT_GIVEN] += n
    return browsers


def _named(counts: Mapping[str | None, int]) -> Counter[str]:
    named: Counter[str] = Counter()
    for label, n in counts.items():
        named[label or labels.NOT_GIVEN] += n
    return named


def _parts(counts: Counter[str], total: int) -> tuple[Part, ...]:
    # Ties by name, so that equal data is drawn equally.
    ranked = sorted(((label, n) for label, n in counts.items() if n), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= MOST_BARS else ranked[: MOST_BARS - 1]
    parts = tuple(Part(label=label, n=n, of=total) for label, n in shown)
    rest = total - _total(parts)
    return (*parts, Part(label=labels.OTHER, n=rest, of=total)) if rest > 0 else parts


def _total(parts: Iterable[Part]) -> int:
    return sum(part.n for part in parts)
