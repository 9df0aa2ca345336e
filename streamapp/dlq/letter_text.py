"""Dead letters as text in columns, as JSON and as hex dumps."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from streamapp.dlq.index import ClassifiedDeadLetter, Letter, ReasonSummary, State
from streamapp.model.record import Record

#: Longest error text in a line.
_MAX_ERROR_CHARS = 100
_BYTES_PER_LINE = 16

_STATES = (State.OPEN, State.IN_TOPIC, State.STORED, State.SUPERSEDED, State.UNKNOWN)


def reason_lines(summaries: Sequence[ReasonSummary]) -> Sequence[str]:
    """Format the counts by reason as a table; the column "unknown" appears only if a state is unknown."""
    states = [s for s in _STATES if s is not State.UNKNOWN or any(summary.states[s] for summary in summaries)]
    head = ("reason", "letters", *states, "attempts", "first failed at", "last failed at")
    return columns([head, *(_summary_cells(summary, states) for summary in summaries)], right=range(1, 2 + len(states)))


def _summary_cells(summary: ReasonSummary, states: Sequence[State]) -> Sequence[str]:
    least, most = min(summary.attempts), max(summary.attempts)
    attempts = str(most) if least == most else f"{least}–{most}"
    counts = (str(summary.states[state]) for state in states)
    at = (_instant(summary.first_failed_at), _instant(summary.last_failed_at))
    return summary.reason, str(summary.states.total()), *counts, attempts, *at


def letter_lines(letters: Sequence[ClassifiedDeadLetter]) -> Sequence[str]:
    """Format dead letters as a table."""
    head = ("at", "state", "origin", "reason", "attempt", "failed at", "schema id", "error")
    return columns([head, *map(_letter_cells, letters)], right=[4, 6])


def _letter_cells(one: ClassifiedDeadLetter) -> Sequence[str]:
    letter, origin = one.letter, one.letter.origin
    return (
        f"{letter.partition}:{letter.offset}",
        one.state,
        f"{_escaped(origin.topic)}-{origin.partition}-{origin.offset}",
        letter.reason,
        str(letter.attempt),
        _instant(letter.failed_at),
        "" if letter.schema_id is None else str(letter.schema_id),
        _cut(_escaped(" ".join(letter.error.split()))),
    )


def columns(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> Sequence[str]:
    """Format rows of equal length as lines with aligned columns; columns with an index in `right` are right-aligned."""
    right_aligned = {*right}
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        padded = [cell.rjust(w) if at in right_aligned else cell.ljust(w) for at, (cell, w) in enumerate(cells)]
        return "  ".join(padded).rstrip()

    return [*map(line, rows)]


def summary_json(summary: ReasonSummary) -> Mapping[str, Any]:
    """Return the counts of one reason as a JSON object."""
    return {
        "reason": summary.reason,
        "letters": summary.states.total(),
        **{state.replace(" ", "_"): summary.states[state] for state in _STATES},
        "attempts": {str(attempt): n for attempt, n in sorted(summary.attempts.items())},
        "first_failed_at": summary.first_failed_at.isoformat(),
        "last_failed_at": summary.last_failed_at.isoformat(),
    }


def letter_json(letter: Letter) -> Mapping[str, Any]:
    """Return a dead letter as a JSON object."""
    origin = letter.origin
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "id": letter.event_id,
        "origin": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "timestamp": origin.timestamp if origin.timestamp >= 0 else None,
            "incarnation": origin.topic_id,
        },
        "reason": letter.reason,
        "attempt": letter.attempt,
        "failed_at": letter.failed_at.isoformat(),
        "schema_id": letter.schema_id,
        "size": letter.size,
        "error": letter.error,
    }


def record_json(record: Record) -> Mapping[str, Any]:
    """Return a record as a JSON object, bytes in base64."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "headers": [{"name": name, "value": _base64(value)} for name, value in record.headers],
    }


def record_lines(record: Record, *, max_bytes: int) -> Iterable[str]:
    """Format a record: its coordinates, headers, and a hex dump of at most `max_bytes` of its value."""
    fields = [
        ("at", f"{record.topic}, partition {record.partition}, offset {record.offset}"),
        ("timestamp", f"{record.timestamp} ({_instant_of(record.timestamp)})"),
        ("key", bytes_text(record.key)),
        ("value", "null" if record.value is None else f"{len(record.value)} bytes"),
        *((_escaped(name), bytes_text(value)) for name, value in record.headers),
    ]
    yield from columns(fields)
    value = record.value or b""
    yield from hex_lines(value[:max_bytes])
    if len(value) > max_bytes:
        yield f"… {len(value) - max_bytes} more bytes; --raw writes all bytes"


def hex_lines(value: bytes) -> Iterable[str]:
    """Format bytes as a hex dump: offset, 16 bytes, printable ASCII."""
    for start in range(0, len(value), _BYTES_PER_LINE):
        line = value[start : start + _BYTES_PER_LINE]
        ascii_ = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)  # noqa: PLR2004 - printable
        yield f"{start:08x}  {line.hex(' '):<47}  {ascii_}"


def bytes_text(value: bytes | None) -> str:
    """Return printable UTF-8 as it is, other text and bytes as a Python literal."""
    if value is None:
        return "null"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    return text if text.isprintable() else repr(text)


def _escaped(text: str) -> str:
    """Escape control characters: any Kafka client can put terminal escape sequences into a header."""
    return text if text.isprintable() else repr(text)[1:-1]


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_ERROR_CHARS else f"{text[: _MAX_ERROR_CHARS - 1]}…"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _instant_of(millis: int) -> str:
    if millis < 0:
        return "unknown"
    try:
        return _instant(datetime.fromtimestamp(millis / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return "not a date"
