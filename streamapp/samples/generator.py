"""Sample events: seeded, plausible, unevenly distributed."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

USERS = 500
_USER_IDS = [f"user-{number:04d}" for number in range(USERS + 1)]


class Weighted:
    """Values, each with how often it comes, relative to the others."""

    def __init__(self, **weights: int) -> None:
        self._values = [*weights]
        self._upto = [*accumulate(weights.values())]

    def draw(self, source: random.Random) -> str:
        """One of them, the same as `random.choices` draws."""
        return self._values[bisect(self._upto, source.random() * self._upto[-1])]


EVENT_TYPES = Weighted(page_view=46, click=26, search=12, add_to_cart=8, purchase=4, login=3, logout=1)
DEVICES = Weighted(mobile=55, desktop=36, tablet=9)
LOCATIONS = Weighted(US=24, DE=16, IN=14, BR=11, GB=10, FR=9, JP=7, CA=5, NG=4)
#: They differ by device.
BROWSERS = {
    "mobile": Weighted(chrome=55, safari=33, firefox=4, edge=2, opera=6),
    "desktop": Weighted(chrome=58, safari=10, firefox=13, edge=17, opera=2),
    "tablet": Weighted(chrome=43, safari=50, firefox=3, edge=3, opera=1),
}


class Sample(NamedTuple):
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
        device = DEVICES.draw(source)
        fields: dict[str, Any] = {
            "user_id": _user(source),
            "event_type": EVENT_TYPES.draw(source),
            "metadata": {"device": device, "location": LOCATIONS.draw(source)},
        }
        browser = BROWSERS[device].draw(source)  # drawn for V1 too, so that the ratio changes nothing else
        if version > 1:
            fields["browser"] = browser
        yield Sample(version=version, fields=fields)


def _user(source: random.Random) -> str:
    # Some users come far more often than others.
    return _USER_IDS[min(int(source.paretovariate(0.6)), USERS)]
