"""Which schema each event of a step is written with: exact numbers in a random order that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence


def shares(count: int, mix: Mapping[str, float]) -> Mapping[str, int]:
    """Divide a number of events by fractions; the largest remainders are rounded up."""
    exact = {name: fraction * count for name, fraction in mix.items()}
    found = {name: int(each + 1e-9) for name, each in exact.items()}
    rest = count - sum(found.values())
    for name in sorted(exact, key=lambda each: found[each] - exact[each])[:rest]:
        found[name] += 1
    return found


def schedule(count: int, mix: Mapping[str, float], source: random.Random) -> Sequence[str]:
    """Return the name of the schema of each event."""
    names = [name for name, n in shares(count, mix).items() for _ in range(n)]
    source.shuffle(names)
    return names
