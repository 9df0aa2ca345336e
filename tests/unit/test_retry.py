"""Outages are waited out, and told of once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamapp.errors import Permanent, StoreUnavailable
from streamapp.retry import NoRetry, OutageRetrier, RetryPolicy


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    async def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise StoreUnavailable("down")
        return "done"


class Sleeps:
    """A sleep that only notes for how long."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.1), (2, 0.2), (5, 1.6), (7, 5.0), (10_000, 5.0)])
def test_waits_double_up_to_a_ceiling(attempt: int, ceiling: float) -> None:
    """Half of each wait is jitter."""
    policy = RetryPolicy(first_wait=0.1, max_wait=5.0)

    assert ceiling / 2 == pytest.approx(policy.wait(attempt, jitter=0))
    assert ceiling == pytest.approx(policy.wait(attempt, jitter=1))


def test_transient_faults_are_repeated_until_it_works() -> None:
    """However many there are."""
    sleeps = Sleeps()

    assert asyncio.run(OutageRetrier("MongoDB", sleep=sleeps).run(Flaky(9))) == "done"
    assert len(sleeps.waits) == 9


def test_other_faults_go_through() -> None:
    """A permanent one is nobody's to wait for."""

    async def broken() -> None:
        raise Permanent("no")

    with pytest.raises(Permanent):
        asyncio.run(OutageRetrier("MongoDB", sleep=Sleeps()).run(broken))


def test_an_outage_is_one_line_where_it_begins_and_one_where_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts and batches wait for it."""
    outages = OutageRetrier("MongoDB", sleep=Sleeps(), clock=iter([100.0, 107.5]).__next__)

    with caplog.at_level(logging.WARNING):
        asyncio.run(outages.run(Flaky(5)))

    assert ["MongoDB is away, waiting for it: down", "MongoDB is back after 7.5 s"] == caplog.messages


def test_an_outage_lasts_while_any_operation_fails() -> None:
    """Others may work all the while: rights on one collection only, one document that cannot be written."""
    flaky = Flaky(1)

    async def pause(_: float) -> None:
        await outages.run(Flaky(0))
        seen.append((outages.away_since is not None, outages.count))

    outages, seen = OutageRetrier("MongoDB", sleep=pause), list[tuple[bool, int]]()
    asyncio.run(outages.run(flaky))

    assert [(True, 1)] == seen
    assert (None, 1) == (outages.away_since, outages.count)


def test_an_operation_that_is_called_off_leaves_it_to_others_to_end_the_outage() -> None:
    """Nobody knows whether it would have worked."""
    outages = OutageRetrier("MongoDB")

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outages.run(Flaky(1_000)), timeout=0.01)
        assert outages.away_since is not None
        await outages.run(Flaky(0))

    asyncio.run(scenario())

    assert (None, 1) == (outages.away_since, outages.count)


def test_commands_have_no_patience() -> None:
    """Their user is told at once."""
    with pytest.raises(StoreUnavailable):
        asyncio.run(NoRetry("MongoDB").run(Flaky(1)))
