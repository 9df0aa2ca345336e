"""Keep the log readable while Kafka is away: aiokafka repeats itself, and asyncio tells of what was given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from aiokafka.errors import KafkaError

#: A filter hears a logger's own records only, not those of the loggers below it.
_LOGGERS = ("", ".cluster", ".conn", ".consumer.fetcher", ".consumer.group_coordinator", ".producer.sender")


class Repeats(logging.Filter):
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


def is_wanted(record: logging.LogRecord) -> bool:
    """Whether a record of asyncio is news: a commit that we gave up ends later, with an error that nobody awaits."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, KafkaError) and record.getMessage().startswith("Task exception was never retrieved"))


_repeats = Repeats()


def hush_aiokafka() -> None:
    """Hold back what aiokafka repeats, and the errors of what it goes on with though we do not wait for it."""
    for name in _LOGGERS:
        logging.getLogger(f"aiokafka{name}").addFilter(_repeats)
    logging.getLogger("asyncio").addFilter(is_wanted)
