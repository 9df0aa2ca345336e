"""The log as JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

from streamapp.monitoring.json_logs import JsonFormatter


def logged(**changes: Any) -> Mapping[str, Any]:
    """Return what is made of a record."""
    values = {"name": "streamapp.x", "levelno": logging.WARNING, "levelname": "WARNING", "created": 1_790_000_000.5}
    line = JsonFormatter().format(logging.makeLogRecord(values | changes))
    assert "\n" not in line
    return json.loads(line)


def test_a_record_is_one_object() -> None:
    """With its arguments in the message, and `extra` apart."""
    expected = {
        "at": "2026-09-21T14:13:20.500+00:00",
        "level": "warning",
        "logger": "streamapp.x",
        "message": "3 of 4 “ok”\nagain",
        "topic": "t",
        "tp": "{1}",
    }

    assert expected == logged(msg="%d of %d “ok”\nagain", args=(3, 4), topic="t", tp={1})


def test_an_exception_is_one_field() -> None:
    """With its traceback, and so is a stack that was asked for."""
    try:
        int("no")
    except ValueError:
        facts = logged(msg="failed", exc_info=sys.exc_info(), stack_info="Stack: x")

    assert facts["exception"].startswith("Traceback")
    assert "ValueError: invalid literal" in facts["exception"]
    assert facts["stack"] == "Stack: x"
