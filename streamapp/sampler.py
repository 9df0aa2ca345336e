"""Sample events: seeded, plausible, unevenly distributed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

USERS = 500
#: What there is, and how often, relative to the others.
EVENT_TYPES = {"page_view": 46, "click": 26, "search": 12, "add_to_cart": 8, "purchase": 4, "login": 3, "logout": 1}
DEVICES = {"mobile": 55, "desktop": 36, "tablet": 9}
LOCATIONS = {"US": 24, "DE": 16, "IN": 14, "BR": 11, "GB": 10, "FR": 9, "JP": 7, "CA": 5, "NG": 4}
#: Browsers differ by device.
BROWSERS = {
    "mobile": {"chrome": 55, "safari": 33, "firefox": 4, "edge": 2, "opera": 6},
    "desktop": {"chrome": 58, "safari": 10, "firefox": 13, "edge": 17, "opera": 2},
    "tablet": {"chrome": 43, "safari": 50, "firefox": 3, "edge": 3, "opera": 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An event to be, without its time."""

    #: Our schema version, 1 or 2; V1 has no browser.
    version: int
    fields: dict[str, Any]

    def event(self, *, at: int) -> dict[str, Any]:
        """The event, happening at `at` (milliseconds since the epoch)."""
        return {**self.fields, "event_timestamp": at}


def samples(*, seed: int | None, v2_ratio: float) -> Iterator[Sample]:
    """Endless samples; the same seed gives the same ones in the same order."""
    source = random.Random(seed)  # noqa: S311 - sample data
    while True:
        version = 2 if source.random() < v2_ratio else 1
        device = _pick(source, DEVICES)
        fields = {
            "user_id": _user(source),
            "event_type": _pick(source, EVENT_TYPES),
            "metadata": {"device": device, "location": _pick(source, LOCATIONS)},
        }
        browser = _pick(source, BROWSERS[device])  # drawn for V1 too, so that the ratio changes nothing else
        yield Sample(version=version, fields=fields | ({"browser": browser} if version > 1 else {}))


def _user(source: random.Random) -> str:
    # Some users come far more often than others.
    return f"user-{min(int(source.paretovariate(0.6)), USERS):04d}"


def _pick(source: random.Random, weighted: dict[str, int]) -> str:
    return source.choices(list(weighted), weights=list(weighted.values()))[0]
