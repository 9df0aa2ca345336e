"""Dead letters for people and for programs: lines in columns, JSON, hex dumps."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from streamapp.dlq.index import ClassifiedDeadLetter, Letter, ReasonRow, State
from streamapp.model.record import Record

#: Of an error in a line.
_MOST_ERROR = 100
_BYTES_A_LINE = 16

_STATES = (State.OPEN, State.IN_TOPIC, State.STORED, State.SUPERSEDED, State.UNKNOWN)


def reason_lines(rows: Sequence[ReasonRow]) -> Sequence[str]:
    """The histogram of reasons; nobody asks for a column of nothing but zeros about what is not known."""
    states = [state for state in _STATES if state is not State.UNKNOWN or any(row.states[state] for row in rows)]
    head = ("reason", "letters", *states, "attempts", "first failed at", "last failed at")
    return columns([head, *(_row_cells(row, states) for row in rows)], right=range(1, 2 + len(states)))


def _row_cells(row: ReasonRow, states: Sequence[State]) -> Sequence[str]:
    least, most = min(row.attempts), max(row.attempts)
    attempts = str(most) if least == most else f"{least}–{most}"
    counts = (str(row.states[state]) for state in states)
    at = (_instant(row.first_failed_at), _instant(row.last_failed_at))
    return row.reason, str(row.states.total()), *counts, attempts, *at


def letter_lines(letters: Sequence[ClassifiedDeadLetter]) -> Sequence[str]:
    """A line for each."""
    head = ("at", "state", "origin", "reason", "attempt", "failed at", "schema id", "error")
    return columns([head, *map(_letter_cells, letters)], right=[4, 6])


def _letter_cells(one: ClassifiedDeadLetter) -> Sequence[str]:
    letter, origin = one.letter, one.letter.origin
    return (
        f"{letter.partition}:{letter.offset}",
        one.state,
        f"{_plain(origin.topic)}-{origin.partition}-{origin.offset}",
        letter.reason,
        str(letter.attempt),
        _instant(letter.failed_at),
        "" if letter.schema_id is None else str(letter.schema_id),
        _cut(_plain(" ".join(letter.error.split()))),
    )


def columns(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> Sequence[str]:
    """Rows of equal length as lines with aligned columns; `right` names those that are flush right."""
    flush_right = {*right}
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        padded = [cell.rjust(w) if at in flush_right else cell.ljust(w) for at, (cell, w) in enumerate(cells)]
        return "  ".join(padded).rstrip()

    return [*map(line, rows)]


def row_json(row: ReasonRow) -> Mapping[str, Any]:
    """A reason as JSON."""
    return {
        "reason": row.reason,
        "letters": row.states.total(),
        **{state.replace(" ", "_"): row.states[state] for state in _STATES},
        "attempts": {str(attempt): n for attempt, n in sorted(row.attempts.items())},
        "first_failed_at": row.first_failed_at.isoformat(),
        "last_failed_at": row.last_failed_at.isoformat(),
    }


def letter_json(letter: Letter) -> Mapping[str, Any]:
    """A dead letter as JSON."""
    origin = letter.origin
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "id": letter.event_id,
        "origin": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "timestamp": origin.timestamp,
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
    """A record as JSON, bytes in base64."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "headers": [{"name": name, "value": _base64(value)} for name, value in record.headers],
    }


def record_lines(record: Record, *, most: int) -> Iterable[str]:
    """A record, its value as a hex dump of at most so many bytes."""
    told = [
        ("at", f"{record.topic}, partition {record.partition}, offset {record.offset}"),
        ("timestamp", f"{record.timestamp} ({_instant_of(record.timestamp)})"),
        ("key", _text(record.key)),
        ("value", "null" if record.value is None else f"{len(record.value)} bytes"),
        *((_plain(name), _text(value)) for name, value in record.headers),
    ]
    yield from columns(told)
    value = record.value or b""
    yield from hex_lines(value[:most])
    if len(value) > most:
        yield f"… {len(value) - most} more bytes; --raw writes all of them"


def hex_lines(value: bytes) -> Iterable[str]:
    """Offset, bytes, and what of them is ASCII, 16 to the line."""
    for start in range(0, len(value), _BYTES_A_LINE):
        line = value[start : start + _BYTES_A_LINE]
        ascii_ = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)  # noqa: PLR2004 - printable
        yield f"{start:08x}  {line.hex(' '):<47}  {ascii_}"


def _text(value: bytes | None) -> str:
    """As text if it is that, and in a form that shows it is none otherwise."""
    if value is None:
        return "null"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    return text if text.isprintable() else repr(text)


def _plain(text: str) -> str:
    """With nothing in it that a terminal would obey: whoever can write to Kafka says what stands in headers."""
    return text if text.isprintable() else repr(text)[1:-1]


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_ERROR else f"{text[: _MOST_ERROR - 1]}…"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _instant_of(millis: int) -> str:
    try:
        return _instant(datetime.fromtimestamp(millis / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return "no date"
