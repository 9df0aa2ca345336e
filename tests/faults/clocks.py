"""Wrong clocks: a worker's clock, and the clock of Kafka's timestamps."""

from __future__ import annotations

from tests.faults.catalogue import fault
from tests.faults.environment import Environment

HOUR = 3600
DAY_MS = 24 * HOUR * 1000
MAX_DAYS_AHEAD = 60


@fault("clock-jumps", "workers", disturbs=False)
def clock_jumps(environment: Environment) -> None:
    """The wall clock of a worker jumps by hours, forward and back."""
    member = environment.victim()
    for hours in (20, -20, 0):
        member.clock.write_text(f"{hours * HOUR}", encoding="utf-8")
        environment.let_time_pass(environment.seconds(1.5, 60))


@fault("timestamps-behind", "load", disturbs=False)
def timestamps_behind(environment: Environment) -> None:
    """Records with Kafka timestamps years in the past."""
    send_shifted(environment, -environment.source.randint(400, 4_000) * DAY_MS)


@fault("timestamps-ahead", "load", disturbs=False)
def timestamps_ahead(environment: Environment) -> None:
    """Records with Kafka timestamps weeks in the future."""
    send_shifted(environment, environment.source.randint(2, MAX_DAYS_AHEAD) * DAY_MS)


def send_shifted(environment: Environment, millis: int) -> None:
    """Shift the timestamps of the records that are sent in this time."""
    with environment.load.shifted(millis):
        environment.let_time_pass(environment.seconds(3, 120))
