"""The log as JSON: one object per line, for those who collect logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

#: What every log record has; anything else was given as `extra`.
_USUAL = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per record: at (ISO 8601, UTC), level, logger, message, the fields of `extra`, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record in one line."""
        facts: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts |= {name: value for name, value in record.__dict__.items() if name not in _USUAL}
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            facts["stack"] = record.stack_info
        return json.dumps(facts, default=str, ensure_ascii=False)


#: For Faust's `logging_config`: its own handlers and level, our form.
JSON_LOGS: dict[str, Any] = {
    "merge": True,
    "formatters": {"colored": {"()": JsonFormatter}, "default": {"()": JsonFormatter}},
}
