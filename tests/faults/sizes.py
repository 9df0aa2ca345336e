"""Records as large as Kafka takes them, and memory that must not grow."""

from __future__ import annotations

import time

from tests.faults.catalogue import fault
from tests.faults.environment import Environment

#: By how much a worker may grow once it is warm: sketches and caches fill up for a while.
GROWTH, GROWTH_MIB = 1.2, 40


@fault("large-records", "load", disturbs=False)
def large_records(environment: Environment) -> None:
    """Events and poisons of a megabyte, up to the broker's limit."""
    for _ in range(int(environment.seconds(15, 300))):
        environment.load.large()
        environment.linger(0.1)


@fault("steady-load", "workers", disturbs=False)
def steady_load(environment: Environment) -> None:
    """No fault at all: under a steady load a worker's memory does not grow."""
    member = environment.victim()
    ends_at = time.monotonic() + environment.seconds(15, 3_600)
    environment.linger(environment.seconds(5, 300))
    warm = member.resident_mib
    while time.monotonic() < ends_at:
        environment.linger(1)
        now = member.resident_mib
        assert now < warm * GROWTH + GROWTH_MIB, f"a worker grew from {warm} to {now} MiB: {member.log}"
