"""Sample events: seeded, plausible, unevenly distributed."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from streamapp.model.user_event import TIME, USER, VERSIONS, WRITER_FIELDS

USERS = 500
_USER_IDS = [f"user-{number:04d}" for number in range(USERS + 1)]
#: Draws a value, given the values that were drawn before, by path.
Draw = Callable[[random.Random, Mapping[str, str]], str]


def weighted(**weights: int) -> Draw:
    """Draw one of these values, by their relative frequencies, the same as `random.choices` draws."""
    values, upto, total = [*weights], [*accumulate(weights.values())], sum(weights.values())
    return lambda source, _: values[bisect(upto, source.random() * total)]


def _user(source: random.Random, _: Mapping[str, str]) -> str:
    # Some users come far more often than others.
    return _USER_IDS[min(int(source.paretovariate(0.6)), USERS)]


def _browser(source: random.Random, drawn: Mapping[str, str]) -> str:
    return _BROWSERS[drawn["metadata.device"]](source, drawn)


_BROWSERS = {
    "mobile": weighted(chrome=55, safari=33, firefox=4, edge=2, opera=6),
    "desktop": weighted(chrome=58, safari=10, firefox=13, edge=17, opera=2),
    "tablet": weighted(chrome=43, safari=50, firefox=3, edge=3, opera=1),
}
#: Path of a field → how its values are drawn, in the order of drawing; optional fields that are not here are null.
#: A seed repeats its samples only while this table and VERSIONS stay the same: each draw takes random numbers from the
#: same source, so a new field changes the samples of every seed.
DRAWS: Mapping[str, Draw] = {
    "metadata.device": weighted(mobile=55, desktop=36, tablet=9),
    USER: _user,
    "event_type": weighted(page_view=46, click=26, search=12, add_to_cart=8, purchase=4, login=3, logout=1),
    "metadata.location": weighted(US=24, DE=16, IN=14, BR=11, GB=10, FR=9, JP=7, CA=5, NG=4),
    "browser": _browser,
}


class Sample(NamedTuple):
    """An event without its time."""

    #: The schema version that it is written with.
    version: int
    fields: dict[str, Any]

    def event(self, *, at: int) -> dict[str, Any]:
        """The event with the time `at` (milliseconds since the epoch)."""
        return {**self.fields, TIME: at}


def samples(*, seed: int | None, v2_ratio: float) -> Iterator[Sample]:
    """Endless samples, the same for the same seed.

    Args:
        seed: None: others each time.
        v2_ratio: share of the samples of version 2 or later; the later versions have equal shares of it.
    """
    source, later = random.Random(seed), VERSIONS[1:]  # noqa: S311 - sample data
    per_version = v2_ratio / len(later)
    while True:
        share = source.random()
        version = later[min(int(share / per_version), len(later) - 1)] if share < v2_ratio else 1
        drawn: dict[str, str] = {}
        for path, draw in DRAWS.items():  # all for each version, so that the ratio changes nothing else
            drawn[path] = draw(source, drawn)
        yield Sample(version, _nested(drawn, version))


def example(version: int) -> Sample:
    """A sample of one version, the same each time."""
    return next(sample for sample in samples(seed=0, v2_ratio=float(version > 1)) if sample.version == version)


def _nested(drawn: Mapping[str, str], version: int) -> dict[str, Any]:
    """The drawn values of the fields that a version has, nested as in its schema."""
    fields: dict[str, Any] = {}
    for parent, name, path in _FIELDS[version]:
        if not parent:
            fields[name] = drawn.get(path)
        elif parent in fields:
            fields[parent][name] = drawn.get(path)
        else:
            fields[parent] = {name: drawn.get(path)}
    return fields


#: Version → parent ("" for the event itself), name and path of its fields.
_FIELDS = {
    version: [
        (field.path.rpartition(".")[0], field.name, field.path)
        for field in WRITER_FIELDS
        if field.path != TIME and field.since <= version
    ]
    for version in VERSIONS
}
