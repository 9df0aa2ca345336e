"""Tell whether the machine was busy with other things: the same work, timed again and again."""

from __future__ import annotations

import time
from collections.abc import Sequence

#: The longest to the shortest time, from which on nothing can be judged.
MOST = 1.3
_STEPS = 15_000_000


def calibrate() -> float:
    """Return how many seconds some work in plain Python takes, about 0.3 on a quiet machine."""
    began = time.perf_counter()
    for _ in range(_STEPS):
        pass
    return time.perf_counter() - began


def verdict(seconds: Sequence[float]) -> str:
    """Say how far the times of `calibrate` are apart, and what that means."""
    shortest, longest = min(seconds), max(seconds)
    figures = f"the same work in plain Python took {shortest:.2f} to {longest:.2f} s, {longest / shortest:.2f} times"
    if longest / shortest <= MOST:
        return f"The machine was quiet: {figures}."
    return f"The machine was too noisy to judge by these figures: {figures}; up to {MOST} would do."
