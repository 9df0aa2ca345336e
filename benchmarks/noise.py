"""Measure whether other work kept the machine busy: time the same work repeatedly."""

from __future__ import annotations

import time
from collections.abc import Sequence

#: Maximum ratio of the longest to the shortest time; above it, the figures are not reliable.
MOST = 1.3
_STEPS = 15_000_000


def calibrate() -> float:
    """Return the seconds that some work in plain Python takes, about 0.3 on a quiet machine."""
    began = time.perf_counter()
    for _ in range(_STEPS):
        pass
    return time.perf_counter() - began


def verdict(seconds: Sequence[float]) -> str:
    """Describe the spread of the times of `calibrate`, and what follows from it."""
    shortest, longest = min(seconds), max(seconds)
    figures = f"the same work in plain Python took {shortest:.2f} to {longest:.2f} s, {longest / shortest:.2f} times"
    if longest / shortest <= MOST:
        return f"The machine was quiet: {figures}."
    return f"The machine was too noisy for these figures to be reliable: {figures}; up to {MOST} is acceptable."
