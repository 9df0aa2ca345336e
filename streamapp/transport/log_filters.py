"""Keep the log readable while Kafka is away: aiokafka repeats itself, and asyncio tells of what was given up."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

#: A filter hears a logger's own records only, not those of the loggers below it.
_LOGGERS = ("", ".cluster", ".conn", ".consumer.fetcher", ".consumer.group_coordinator", ".producer.sender")


class RateLimitFilter(logging.Filter):
    """Passes a warning or an error once per interval, whatever its arguments."""

    def __init__(self, every_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_seconds = every_seconds
        self._clock = clock
        self._passed_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let a record pass."""
        if record.levelno < logging.WARNING:
            return True
        message, now = (record.name, str(record.msg)), self._clock()
        if now - self._passed_at.get(message, -self._every_seconds) < self._every_seconds:
            return False
        self._passed_at[message] = now
        return True


class StartupFilter(logging.Filter):
    """Holds back that a group has no coordinator yet, as is usual where it is the broker's first, unless it lasts."""

    def __init__(self, patience_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._began_at = self._heard_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let a record pass."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        if not any(isinstance(argument, GroupCoordinatorNotAvailableError) for argument in arguments):
            return True
        now = self._clock()
        if now - self._heard_at > self._patience_seconds:
            self._began_at = now
        self._heard_at = now
        return now - self._began_at >= self._patience_seconds


def is_wanted(record: logging.LogRecord) -> bool:
    """Whether a record of asyncio is news: a commit that we gave up ends later, with an error that nobody awaits."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, KafkaError) and record.getMessage().startswith("Task exception was never retrieved"))


_first_steps, _repeats = StartupFilter(), RateLimitFilter()


def install_log_filters() -> None:
    """Hold back what aiokafka repeats, and the errors of what it goes on with though we do not wait for it."""
    logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(_first_steps)
    for name in _LOGGERS:
        logging.getLogger(f"aiokafka{name}").addFilter(_repeats)
    logging.getLogger("asyncio").addFilter(is_wanted)
