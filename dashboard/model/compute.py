"""From what was read to the Snapshot that is shown; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dashboard.model import labels
from dashboard.model.snapshot import Changes, Counts, Overview, Part, Query, QueryResult, Series, Snapshot, Users

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from dashboard.model.time_window import Window

MOST_BARS = 8
#: Up to here a sketch is exact, see streamapp.rollup.unique.
EXACT_USERS = 190


def snapshot(*, query: Query, window: Window, read_at: datetime, overview: Overview, found: QueryResult) -> Snapshot:
    """Return all that the page shows."""
    counts, v2 = found.counts, overview.v2_version
    total = counts.total
    types = _parts(counts.by_type, total)
    main_action = next((part for part in types if part.label != labels.OTHER), None)
    return Snapshot(
        query=query,
        window=window,
        read_at=read_at,
        overview=overview,
        found=found,
        total=total,
        users=_users(found),
        adoption=_adoption(_by_version(counts), v2),
        main_action=main_action,
        changes=_changes(found, v2, main_action),
        volume=_volume(counts, window),
        adopted=_adopted(counts, window, v2),
        # The first version of all marks no change.
        marks=tuple((name, at) for name, at in overview.first_seen[1:] if window.start <= at < window.end),
        types=types,
        browsers=_parts(_browsers(counts, v2), total),
        devices=_parts(counts.by_device, total),
        locations=_parts(counts.by_location, total) if counts.by_location else (),
    )


def _users(found: QueryResult) -> Users | None:
    n = found.counts.users
    if n is None:
        return None
    return Users(n=n, is_exact=found.users_are_counted or n <= EXACT_USERS)


def _changes(found: QueryResult, v2: int, main_action: Part | None) -> Changes:
    now, before = found.finished, found.previous
    if now is None or before is None or not before.total:
        return Changes()
    return Changes(
        total=_change(now.total, before.total),
        users=_change(now.users, before.users) if now.users is not None and before.users else None,
        adoption=_difference(_share_adopted(now, v2), _share_adopted(before, v2)),
        main_action=_difference(_share_of(now, main_action), _share_of(before, main_action)),
    )


def _change(now: float, before: float | None) -> float | None:
    return now / before - 1 if before else None


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _share_adopted(counts: Counts, v2: int) -> float | None:
    part = _adoption(_by_version(counts), v2)
    return part.share if part else None


def _share_of(counts: Counts, part: Part | None) -> float | None:
    return counts.by_type.get(part.label, 0) / counts.total if part and counts.total else None


def _by_version(counts: Counts) -> Counter[str]:
    versions: Counter[str] = Counter()
    for (_, version), n in counts.by_bucket.items():
        versions[version] += n
    return versions


def _adoption(versions: Mapping[str, int], v2: int) -> Part | None:
    registered = {number: n for version, n in versions.items() if (number := labels.version_number(version))}
    of = sum(registered.values())
    if not of:
        return None
    return Part(label="V2 or later", n=sum(n for number, n in registered.items() if number >= v2), of=of)


def _volume(counts: Counts, window: Window) -> tuple[Series, ...]:
    versions = sorted(_by_version(counts), key=_version_order)
    return tuple(
        Series(
            version=version,
            per_bucket=tuple(counts.by_bucket.get((bucket, version), 0) for bucket in window.buckets),
        )
        for version in versions
    )


def _adopted(counts: Counts, window: Window, v2: int) -> tuple[float | None, ...]:
    versions = _by_version(counts)
    parts = [
        _adoption({version: counts.by_bucket.get((bucket, version), 0) for version in versions}, v2)
        for bucket in window.buckets
    ]
    return tuple(part.share if part else None for part in parts)


def _version_order(version: str) -> tuple[bool, int]:
    number = labels.version_number(version)
    return number is None, number or 0


def _browsers(counts: Counts, v2: int) -> Counter[str]:
    browsers = Counter(counts.by_browser)
    # The writer's schema had no such field: that is another thing than a V2 event that leaves it empty.
    before_v2 = sum(n for version, n in _by_version(counts).items() if 0 < (labels.version_number(version) or 0) < v2)
    has_no_field = min(before_v2, browsers[labels.NOT_GIVEN])
    browsers[labels.NO_BROWSER_FIELD] += has_no_field
    browsers[labels.NOT_GIVEN] -= has_no_field
    return browsers


def _parts(counts: Mapping[str, int], total: int) -> tuple[Part, ...]:
    # Ties by name, so that equal data is drawn equally; what is already "all others" stays last.
    named = ((label, n) for label, n in counts.items() if n and label != labels.OTHER)
    ranked = sorted(named, key=lambda item: (-item[1], item[0]))
    has_others = sum(n for _, n in ranked) < total
    shown = ranked if len(ranked) + has_others <= MOST_BARS else ranked[: MOST_BARS - 1]
    parts = tuple(Part(label=label, n=n, of=total) for label, n in shown)
    rest = total - _total(parts)
    return (*parts, Part(label=labels.OTHER, n=rest, of=total)) if rest > 0 else parts


def _total(parts: Iterable[Part]) -> int:
    return sum(part.n for part in parts)
