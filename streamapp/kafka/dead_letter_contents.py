"""What is sent of a dead letter: the record, with headers for its coordinates and the reason of the failure."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from streamapp.model import replays
from streamapp.model.omitted import OMITTED_HEADERS, omitted_headers
from streamapp.model.record import HEADER_PREFIX, DeadLetter

_MAX_ERROR_BYTES = 1024


def headers_of(
    letter: DeadLetter, *, failed_at: datetime, signing_key: bytes | None = None
) -> list[tuple[str, bytes | None]]:
    """The record's own headers, then those of streamapp; they replace those of an earlier failure."""
    origin = letter.origin
    values = {
        "reason": letter.reason.value,
        "error": letter.error.encode("utf-8", "replace")[:_MAX_ERROR_BYTES].decode("utf-8", "ignore"),
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        "timestamp": str(origin.timestamp),
        "schema_id": "" if letter.schema_id is None else str(letter.schema_id),
        "failed_at": failed_at.isoformat(),
        "attempt": str(origin.failures + 1),
        "incarnation": origin.topic_id or "",
    }
    ours = {name: text.encode() for name, text in values.items()}
    if signing_key is not None:
        ours["signature"] = replays.sign(signing_key, ours, letter.record.key, letter.record.value)
    stale = {HEADER_PREFIX + name for name in (*ours, "signature", *OMITTED_HEADERS)}
    own = [(name, value) for name, value in letter.record.headers if name not in stale]
    return own + [(HEADER_PREFIX + name, value) for name, value in ours.items()]


class Form(IntEnum):
    """How much of the record a dead letter has: the next form is sent if Kafka refuses one for its size."""

    WHOLE = 0
    #: Delivered in a batch of its own.
    ALONE = 1
    WITHOUT_VALUE = 2
    #: Without value and key, and without the record's own headers.
    WITHOUT_CONTENT = 3


class Contents(NamedTuple):
    """What is sent of a dead letter."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def contents_of(letter: DeadLetter, form: Form, headers: list[tuple[str, bytes | None]]) -> Contents:
    """The key, value and headers of a dead letter in this form; `headers` are those of the whole letter."""
    key, value = letter.record.key, letter.record.value
    if form >= Form.WITHOUT_VALUE:
        headers = [*headers, *omitted_headers("value", value)]
        value = None
    if form >= Form.WITHOUT_CONTENT:
        ours = [(name, header) for name, header in headers if name.startswith(HEADER_PREFIX)]
        headers = [*ours, *omitted_headers("key", key), (f"{HEADER_PREFIX}headers_omitted", b"true")]
        key = None
    return Contents(key, value, headers)
