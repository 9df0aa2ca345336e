"""The JSON formatter of the log."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

from streamapp.monitoring.json_logs import JsonFormatter


def logged(**changes: Any) -> Mapping[str, Any]:
    """Return the formatted record, parsed."""
    values = {"name": "streamapp.x", "levelno": logging.WARNING, "levelname": "WARNING", "created": 1_790_000_000.5}
    line = JsonFormatter().format(logging.makeLogRecord(values | changes))
    assert "\n" not in line
    return json.loads(line)


def test_a_record_is_one_object() -> None:
    """The message contains its arguments; each attribute of `extra` is a field."""
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
    """The field holds the traceback; a requested stack is another field."""
    try:
        int("no")
    except ValueError:
        fields = logged(msg="failed", exc_info=sys.exc_info(), stack_info="Stack: x")

    assert fields["exception"].startswith("Traceback")
    assert "ValueError: invalid literal" in fields["exception"]
    assert fields["stack"] == "Stack: x"
