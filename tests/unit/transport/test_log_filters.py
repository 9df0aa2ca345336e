"""What is repeated in the log while Kafka is away."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streamapp.transport.log_filters import RateLimitFilter, StartupFilter, install_log_filters


def a_record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    """Return a line of aiokafka's log."""
    return logging.LogRecord("aiokafka.conn", level, __file__, 1, message, arguments, None)


def test_message_passes_once_per_interval() -> None:
    """The same message with other arguments is held back until its interval is over; another one passes."""
    now = 0.0
    repeats = RateLimitFilter(every_seconds=60, clock=lambda: now)

    assert repeats.filter(a_record("no connection to %s", 1))
    now = 59.9
    assert not repeats.filter(a_record("no connection to %s", 2))
    assert repeats.filter(a_record("another"))
    now = 60.0
    assert repeats.filter(a_record("no connection to %s", 3))


def test_a_group_without_a_coordinator_is_told_once_it_lasts() -> None:
    """A broker makes its first group's coordinator in a second; one that cannot is news."""
    now = 0.0
    first_steps = StartupFilter(patience_seconds=10, clock=lambda: now)
    line = a_record("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())

    assert first_steps.filter(a_record("another"))
    assert not first_steps.filter(line)
    now = 9.0
    assert not first_steps.filter(line)
    now = 10.0
    assert first_steps.filter(line)
    now = 100.0
    assert not first_steps.filter(line)


def test_news_always_passes() -> None:
    """Rebalances and the like are told each time."""
    repeats = RateLimitFilter()

    assert all(repeats.filter(a_record("joined", level=logging.INFO)) for _ in range(2))


@pytest.mark.parametrize(
    ("error", "expected"), [(GroupCoordinatorNotAvailableError(), False), (ValueError("a fault of ours"), True)]
)
def test_commit_that_was_given_up_says_nothing(
    error: Exception, expected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error comes when nobody waits for it any more; any other task's error is told, with its traceback."""

    async def fail() -> None:
        raise error

    async def give_up() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    install_log_filters()
    asyncio.run(give_up())

    assert expected == ("Task exception was never retrieved" in caplog.text)
