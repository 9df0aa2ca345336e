"""Which log records pass while Kafka is unreachable."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streamapp.transport.log_filters import RateLimitFilter, StartupFilter, install_log_filters


def a_record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    """Return a log record of aiokafka."""
    return logging.LogRecord("aiokafka.conn", level, __file__, 1, message, arguments, None)


def test_message_passes_once_per_interval() -> None:
    """The same message with other arguments passes again after the interval; another message passes."""
    now = 0.0
    rate_limit = RateLimitFilter(every_seconds=60, clock=lambda: now)

    assert rate_limit.filter(a_record("no connection to %s", 1))
    now = 59.9
    assert not rate_limit.filter(a_record("no connection to %s", 2))
    assert rate_limit.filter(a_record("another"))
    now = 60.0
    assert rate_limit.filter(a_record("no connection to %s", 3))


def test_a_group_without_a_coordinator_is_logged_only_if_that_lasts() -> None:
    """A new broker needs some seconds for its first group; a longer absence is an error."""
    now = 0.0
    startup = StartupFilter(patience_seconds=10, clock=lambda: now)
    line = a_record("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())

    assert startup.filter(a_record("another"))
    assert not startup.filter(line)
    now = 9.0
    assert not startup.filter(line)
    now = 10.0
    assert startup.filter(line)
    now = 100.0
    assert not startup.filter(line)


def test_info_always_passes() -> None:
    """Rebalances are logged each time."""
    rate_limit = RateLimitFilter()

    assert all(rate_limit.filter(a_record("joined", level=logging.INFO)) for _ in range(2))


@pytest.mark.parametrize(
    ("error", "expected"), [(GroupCoordinatorNotAvailableError(), False), (ValueError("a bug"), True)]
)
def test_the_error_of_a_commit_that_was_given_up_is_not_logged(
    error: Exception, expected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes after the caller has stopped waiting; errors of other tasks are logged with their traceback."""

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
