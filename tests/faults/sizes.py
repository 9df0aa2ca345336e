"""Records of the maximum size, and memory that must not grow."""

from __future__ import annotations

import time

from tests.faults.catalogue import fault
from tests.faults.environment import Environment

#: Growth that is allowed after the warm-up, in MiB: sketches and caches fill up for a while.
GROWTH, GROWTH_MIB = 1.2, 40


@fault("large-records", "load", disturbs=False)
def large_records(environment: Environment) -> None:
    """Events and poison records of a megabyte, up to the broker's limit."""
    for _ in range(int(environment.seconds(15, 300))):
        environment.load.large()
        environment.let_time_pass(0.1)


@fault("steady-load", "workers", disturbs=False)
def steady_load(environment: Environment) -> None:
    """No fault: under a steady load, a worker's memory does not grow."""
    member = environment.victim()
    ends_at = time.monotonic() + environment.seconds(15, 3_600)
    environment.let_time_pass(environment.seconds(5, 300))
    warm = member.resident_mib
    while time.monotonic() < ends_at:
        environment.let_time_pass(1)
        now = member.resident_mib
        assert now < warm * GROWTH + GROWTH_MIB, f"a worker grew from {warm} to {now} MiB: {member.log}"
