"""What is repeated in the log while Kafka is away."""

from __future__ import annotations

import logging

from streamapp.quiet import Repeats


def a_record(message: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    """Return a line of aiokafka's log."""
    return logging.LogRecord("aiokafka.conn", level, __file__, 1, message, arguments, None)


def test_message_passes_once_per_interval() -> None:
    """The same message with other arguments is held back until its interval is over; another one passes."""
    now = 0.0
    repeats = Repeats(every_seconds=60, clock=lambda: now)

    assert repeats.filter(a_record("no connection to %s", 1))
    now = 59.9
    assert not repeats.filter(a_record("no connection to %s", 2))
    assert repeats.filter(a_record("another"))
    now = 60.0
    assert repeats.filter(a_record("no connection to %s", 3))


def test_news_always_passes() -> None:
    """Rebalances and the like are told each time."""
    repeats = Repeats()

    assert all(repeats.filter(a_record("joined", level=logging.INFO)) for _ in range(2))
