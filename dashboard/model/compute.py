"""Compute the Snapshot that is shown from what was read; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dashboard.model import labels
from dashboard.model.snapshot import (
    NEW,
    Changes,
    Counts,
    Overview,
    Part,
    Query,
    QueryResult,
    Series,
    Snapshot,
    Users,
)
from streamapp.model.user_event import ADOPTED_VERSION, CHARTS, MAIN_DIMENSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from dashboard.model.time_window import Window

MOST_BARS = 8
#: Up to here a sketch is exact, see streamapp.rollup.unique.
EXACT_USERS = 190
#: Beyond so many times the period before, a change says nothing but that there was little before: it is NEW.
MOST_TIMES = 10


def snapshot(*, query: Query, window: Window, read_at: datetime, overview: Overview, found: QueryResult) -> Snapshot:
    """Return all that the page shows."""
    counts, adopted = found.counts, overview.numbers[ADOPTED_VERSION]
    total = counts.total
    parts = {each.plural: parts_of(each.plural, counts) for each in CHARTS}
    main_action = next((part for part in parts[MAIN_DIMENSION] if part.label not in labels.NO_VALUES), None)
    return Snapshot(
        query=query,
        window=window,
        read_at=read_at,
        overview=overview,
        found=found,
        total=total,
        possible=counts.possible,
        users=_users(found),
        adoption=_adoption(_by_version(counts), adopted),
        main_action=main_action,
        is_main_action_sure=main_action is None or _is_sure(main_action, counts),
        changes=_changes(found, adopted, main_action),
        volume=_volume(counts, window),
        before=_before(found.previous, window),
        adopted=_adopted(counts, window, adopted),
        # The first version is no change.
        marks=tuple((name, at) for name, at, _ in overview.version_times[1:] if window.start <= at < window.end),
        parts=parts,
    )


def _users(found: QueryResult) -> Users | None:
    n = found.counts.users
    if n is None:
        return None
    return Users(n=n, is_exact=found.users_are_counted or n <= EXACT_USERS)


def _changes(found: QueryResult, adopted: int, main_action: Part | None) -> Changes:
    now, before = found.finished, found.previous
    if now is None or before is None:
        return Changes()
    return Changes(
        total=_change(now.total, before.total),
        users=_change(now.users, before.users),
        adoption=_difference(_share_adopted(now, adopted), _share_adopted(before, adopted)),
        main_action=_difference(_share_of(now, main_action), _share_of(before, main_action)),
    )


def _change(now: int | None, before: int | None) -> float | None:
    if now is None or before is None or not now + before:
        return None
    return now / before - 1 if now <= before * MOST_TIMES else NEW


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _share_adopted(counts: Counts, adopted: int) -> float | None:
    part = _adoption(_by_version(counts), adopted)
    return part.share if part else None


def _share_of(counts: Counts, part: Part | None) -> float | None:
    by_label = counts.by_value[MAIN_DIMENSION]
    if part is None or not counts.total or not by_label or counts.error(MAIN_DIMENSION, part.label):
        return None
    return by_label.get(part.label, 0) / counts.total


def _by_version(counts: Counts) -> Counter[str]:
    versions: Counter[str] = Counter()
    for (_, version), n in counts.by_bucket.items():
        versions[version] += n
    return versions


def _adoption(versions: Mapping[str, int], adopted: int) -> Part | None:
    registered = {number: n for version, n in versions.items() if (number := labels.version_number(version))}
    of = sum(registered.values())
    if not of:
        return None
    n = sum(n for number, n in registered.items() if number >= adopted)
    return Part(label=f"V{ADOPTED_VERSION} or later", n=n, of=of)


def _volume(counts: Counts, window: Window) -> tuple[Series, ...]:
    versions = sorted(_by_version(counts), key=_version_order)
    return tuple(
        Series(
            version=version,
            per_bucket=tuple(counts.by_bucket.get((bucket, version), 0) for bucket in window.buckets),
        )
        for version in versions
    )


def _before(previous: Counts | None, window: Window) -> tuple[int | None, ...]:
    if previous is None:
        return ()
    by_bucket: Counter[datetime] = Counter()
    for (bucket, _), n in previous.by_bucket.items():
        by_bucket[bucket] += n
    shift = window.start - window.previous_start
    return tuple(by_bucket[at - shift] if at < window.finished_end else None for at in window.buckets)


def _adopted(counts: Counts, window: Window, adopted: int) -> tuple[float | None, ...]:
    versions = _by_version(counts)
    parts = [
        _adoption({version: counts.by_bucket.get((bucket, version), 0) for version in versions}, adopted)
        for bucket in window.buckets
    ]
    return tuple(part.share if part else None for part in parts)


def _version_order(version: str) -> tuple[bool, int, str]:
    number = labels.version_number(version)
    return number is None, number or 0, version


def parts_of(name: str, counts: Counts) -> tuple[Part, ...]:
    """Return the bars of a dimension, the longest first; the rest is "all others"."""
    # Ties by name, so that equal data is drawn equally; "all others" stays last.
    by_label, total = counts.by_value[name], counts.total
    named = ((label, n) for label, n in by_label.items() if n and label != labels.OTHER)
    ranked = sorted(named, key=lambda item: (-item[1], item[0]))
    has_others = sum(n for _, n in ranked) < total
    shown = ranked if len(ranked) + has_others <= MOST_BARS else ranked[: MOST_BARS - 1]
    parts = tuple(_part(name, label, n, counts) for label, n in shown)
    rest = total - _total(parts)
    if not by_label or rest <= 0:
        return parts
    return (*parts, Part(label=labels.OTHER, n=rest, of=total, error=-min(rest, sum(part.error for part in parts))))


def _part(name: str, label: str, n: int, counts: Counts) -> Part:
    # No value has more events than there are in all.
    at_most = counts.total + counts.possible
    return Part(label=label, n=n, of=counts.total, error=min(counts.error(name, label), at_most - n))


def _is_sure(main_action: Part, counts: Counts) -> bool:
    """Whether no other value can have more events."""
    found, unknown = counts.by_value[MAIN_DIMENSION], counts.errors.get(MAIN_DIMENSION, {}).get(labels.OTHER, 0)
    others = {*found} - labels.NO_VALUES - {main_action.label}
    most = max([unknown, *(found[label] + counts.error(MAIN_DIMENSION, label) for label in others)])
    return main_action.n >= most + found.get(labels.NOT_COUNTED, 0)


def _total(parts: Iterable[Part]) -> int:
    return sum(part.n for part in parts)
