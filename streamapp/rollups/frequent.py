"""Counts of the most frequent keys among any number of keys, and how far each count can be off.

A map of a rollup holds at most MAX_KEYS keys, besides OTHER. Until there are more, its counts are exact. Beyond, it is
the summary of the Space-Saving algorithm (Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k
Elements in Data Streams", ICDT 2005) for batches: the keys with the smallest upper bounds leave, and their events are
counted under OTHER. A key that comes (again) is counted from then on.

The errors of a map say how many events a key can have in addition to its count: `errors[key]` for a key that is held,
0 if absent; `errors[OTHER]` for every key that is not held. So the number of events with a key lies between `count`
and `count + error`. No error is larger than n / MAX_KEYS, where n is the number of all events. Bounds of several maps
are added.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from streamapp.rollups.keys import MAX_KEYS, OTHER

#: Events by key.
Counts = Mapping[str, int]


class Bounds(NamedTuple):
    """The least and the greatest number of events that a key can have."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def evict(counts: dict[str, int], errors: dict[str, int], known: Collection[str]) -> frozenset[str]:
    """Reduce a map to MAX_KEYS keys after events were added; return the keys whose events OTHER counts now.

    Args:
        counts: events by key; changed.
        errors: the errors of the map; changed.
        known: the keys that the map held before the events were added.
    """
    if absent := errors.get(OTHER, 0):
        errors.update(dict.fromkeys(counts.keys() - known - {OTHER}, absent))
    if len(counts) - (OTHER in counts) <= MAX_KEYS:
        return frozenset()
    ranked = sorted(counts.keys() - {OTHER}, key=lambda key: (-counts[key] - errors.get(key, 0), -counts[key], key))
    first, *_ = evicted = ranked[MAX_KEYS:]
    errors[OTHER] = counts[first] + errors.get(first, 0)
    for key in evicted:
        errors.pop(key, None)
    return count_as_other(counts, evicted)


def count_as_other(counts: dict[str, int], keys: Collection[str]) -> frozenset[str]:
    """Move the events of keys to OTHER; return the keys."""
    moved = sum(counts.pop(key) for key in keys)
    if keys:
        counts[OTHER] = counts.get(OTHER, 0) + moved
    return frozenset(keys)


def errors_of(counts: Counts, errors: Counts | None) -> Counts:
    """The errors of a stored map.

    A map that holds OTHER without errors was written by a release that kept the first MAX_KEYS keys: their counts are
    exact, and any other key can have all events of OTHER.
    """
    if errors is None:
        return {OTHER: counts[OTHER]} if OTHER in counts else {}
    return errors


def bounds(counts: Counts, errors: Counts, key: str) -> Bounds:
    """The least and the greatest number of events with a key."""
    if key in counts:
        return Bounds(counts[key], counts[key] + errors.get(key, 0))
    return Bounds(0, errors.get(OTHER, 0))
