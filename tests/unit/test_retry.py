"""Operations are retried through an outage, which is logged once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamapp.errors import BrokerAccessRefused, BrokerUnavailable, Permanent, StoreUnavailable
from streamapp.retry import NoRetry, OutageRetrier, RetryPolicy


class Flaky:
    """Fails a number of times, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    async def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise StoreUnavailable("down")
        return "done"


class Sleeps:
    """Replaces `sleep`, and records the waits."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.1), (2, 0.2), (5, 1.6), (7, 5.0), (10_000, 5.0)])
def test_waits_double_up_to_the_maximum(attempt: int, ceiling: float) -> None:
    """Half of each wait is random."""
    policy = RetryPolicy(first_wait=0.1, max_wait=5.0)

    assert ceiling / 2 == pytest.approx(policy.wait(attempt, jitter=0))
    assert ceiling == pytest.approx(policy.wait(attempt, jitter=1))


def test_transient_errors_are_retried_until_the_operation_succeeds() -> None:
    """There is no limit on the number of retries."""
    sleeps = Sleeps()

    assert asyncio.run(OutageRetrier("MongoDB", sleep=sleeps).run(Flaky(9))) == "done"
    assert len(sleeps.waits) == 9


def test_a_refused_access_is_not_called_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    """And is logged once."""

    async def scenario() -> None:
        answers = iter([BrokerAccessRefused("the password is wrong")] * 3)

        async def ask() -> None:
            if error := next(answers, None):
                raise error

        await OutageRetrier("Kafka", sleep=Sleeps()).run(ask)

    asyncio.run(scenario())
    assert "Kafka refuses access; retrying until it grants it: the password is wrong" in caplog.text
    assert "unreachable" not in caplog.text
    assert caplog.text.count("password") == 1


def test_access_that_is_refused_during_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A server that was unreachable may refuse access once it answers; then it is unreachable again."""
    outages = OutageRetrier("Kafka")
    refused = BrokerAccessRefused("the password is wrong")
    for failure in (BrokerUnavailable("down"), refused, BrokerUnavailable("down"), refused, None, refused):
        outages.report(failure, owner="ping")

    assert 2 == outages.count
    logged = [record.getMessage().partition(":")[0] for record in caplog.records]
    refuses = "Kafka refuses access; retrying until it grants it"
    assert ["Kafka is unreachable; retrying until it answers", refuses] == logged[:2]
    assert ["Kafka works again after 0.0 s", refuses] == logged[2:]


def test_other_errors_propagate() -> None:
    """A retry cannot fix a permanent error."""

    async def broken() -> None:
        raise Permanent("no")

    with pytest.raises(Permanent):
        asyncio.run(OutageRetrier("MongoDB", sleep=Sleeps()).run(broken))


def test_start_and_end_of_an_outage_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Five failed attempts make two log lines."""
    outages = OutageRetrier("MongoDB", sleep=Sleeps(), clock=iter([100.0, 107.5]).__next__)

    with caplog.at_level(logging.WARNING):
        asyncio.run(outages.run(Flaky(5)))

    assert [
        "MongoDB is unreachable; retrying until it answers: down",
        "MongoDB works again after 7.5 s",
    ] == caplog.messages


def test_a_server_that_answers_with_an_error_is_not_called_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    """An operator would look for a fault of the network."""
    OutageRetrier("MongoDB").report(StoreUnavailable("the disk is full", is_running=True), owner="ping")

    assert ["MongoDB answers with an error; retrying until it succeeds: the disk is full"] == caplog.messages


def test_an_outage_lasts_while_any_operation_fails() -> None:
    """Other operations may succeed meanwhile, for example if one collection is not writable."""
    flaky = Flaky(1)

    async def pause(_: float) -> None:
        await outages.run(Flaky(0))
        seen.append((outages.outage_since is not None, outages.count))

    outages, seen = OutageRetrier("MongoDB", sleep=pause), list[tuple[bool, int]]()
    asyncio.run(outages.run(flaky))

    assert [(True, 1)] == seen
    assert (None, 1) == (outages.outage_since, outages.count)


def test_a_cancelled_operation_does_not_end_the_outage() -> None:
    """It is unknown whether its next attempt would succeed; the next operation that succeeds ends the outage."""
    outages = OutageRetrier("MongoDB")

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outages.run(Flaky(1_000)), timeout=0.01)
        assert outages.outage_since is not None
        await outages.run(Flaky(0))

    asyncio.run(scenario())

    assert (None, 1) == (outages.outage_since, outages.count)


def test_an_owner_that_reports_success_ends_only_an_outage_that_it_reported() -> None:
    """It reports after each of its operations, while other operations may fail."""
    reports = list[bool]()

    async def pause(_: float) -> None:
        for failure in (None, StoreUnavailable("also down"), None):
            outages.report(failure, owner="consumer")
            reports.append(outages.outage_since is not None)

    outages = OutageRetrier("MongoDB", sleep=pause)
    asyncio.run(outages.run(Flaky(1)))

    assert [True, True, True] == reports
    assert (None, 1) == (outages.outage_since, outages.count)
    outages.report(StoreUnavailable("down again"), owner="consumer")
    assert outages.outage_since is not None
    outages.report(None, owner="ping")
    assert outages.outage_since is not None
    outages.report(None, owner="consumer")
    assert (None, 2) == (outages.outage_since, outages.count)


def test_no_retry_tries_once() -> None:
    """A command reports the error immediately."""
    with pytest.raises(StoreUnavailable):
        asyncio.run(NoRetry("MongoDB").run(Flaky(1)))
