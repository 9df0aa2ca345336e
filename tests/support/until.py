"""Wait for a fact, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Deadlines are those of a machine at rest. A slow one, or one with other work, takes several times as long.
_PATIENCE = 4


def until(fact: Callable[[], T], *, within: float = 30.0, what: str = "the fact") -> T:
    """Call `fact` until it returns something true, and return that; fail some time after `within` seconds.

    Raises:
        AssertionError: it has returned nothing true; the message names `what`.
    """
    within *= _PATIENCE
    give_up_at = time.monotonic() + within
    while not (found := fact()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"no sign of {what} within {within:g} s; last seen: {found!r}")
        time.sleep(0.05)
    return found
