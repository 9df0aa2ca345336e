"""Log filters that keep the log readable while Kafka is unreachable.

Repeated warnings of aiokafka pass once a minute. Errors of commits that were given up do not pass.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

#: At DEBUG these loggers write keys and values of records, and whole requests and answers.
_CONTENT_LOGGERS = ("aiokafka.conn", "aiokafka.producer.producer", "faust.topics", "faust.agents.agent")
#: A filter of a logger does not see the records of child loggers.
_LOGGERS = ("", ".cluster", ".conn", ".consumer.fetcher", ".consumer.group_coordinator", ".producer.sender")


class RateLimitFilter(logging.Filter):
    """Lets a warning or an error pass once per interval, whatever its arguments."""

    def __init__(self, every_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_seconds = every_seconds
        self._clock = clock
        self._passed_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a log record passes."""
        if record.levelno < logging.WARNING:
            return True
        message, now = (record.name, str(record.msg)), self._clock()
        if now - self._passed_at.get(message, -self._every_seconds) < self._every_seconds:
            return False
        self._passed_at[message] = now
        return True


class StartupFilter(logging.Filter):
    """Suppresses the errors of a group without a coordinator, unless they last.

    A new broker needs some seconds until its first consumer group has a coordinator.
    """

    def __init__(self, patience_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._first_at = self._last_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a log record passes."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        if not any(isinstance(argument, GroupCoordinatorNotAvailableError) for argument in arguments):
            return True
        now = self._clock()
        if now - self._last_at > self._patience_seconds:
            self._first_at = now
        self._last_at = now
        return now - self._first_at >= self._patience_seconds


def is_wanted(record: logging.LogRecord) -> bool:
    """Whether a log record of asyncio passes: all but the errors of commits that ended after they were given up."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, KafkaError) and record.getMessage().startswith("Task exception was never retrieved"))


_startup_filter, _rate_limit_filter = StartupFilter(), RateLimitFilter()


def install_log_filters() -> None:
    """Add the filters to the loggers of aiokafka and asyncio, and keep the content of records out of every log."""
    for name in _CONTENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger("aiokafka.consumer.group_coordinator").addFilter(_startup_filter)
    for name in _LOGGERS:
        logging.getLogger(f"aiokafka{name}").addFilter(_rate_limit_filter)
    logging.getLogger("asyncio").addFilter(is_wanted)
