"""Dead letters as text, JSON and hex dumps."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from streamapp.dlq.index import ClassifiedDeadLetter, State, histogram
from streamapp.dlq.letter_text import (
    hex_lines,
    letter_json,
    letter_lines,
    reason_lines,
    record_json,
    record_lines,
    summary_json,
)
from streamapp.model.record import Reason
from tests.support.factories import NOW, TOPIC_ID, FakeRecord
from tests.unit.dlq.test_index import AT, a_letter


def test_letters_are_a_table() -> None:
    """Errors are put on one line, and cut."""
    lines = letter_lines(
        [
            ClassifiedDeadLetter(
                letter=a_letter(24, origin=118, partition=2, error="a\n b" + "c" * 200), state=State.IN_TOPIC
            ),
            ClassifiedDeadLetter(
                letter=a_letter(5, reason=Reason.TOMBSTONE, schema_id=None, error=""), state=State.OPEN
            ),
        ]
    )

    assert [
        "at    state     origin             reason     attempt  failed at             schema id  error",
        f"0:24  in topic  user_events-2-118  empty            1  2026-09-21T12:00:00Z          7  a b{'c' * 96}…",
        "0:5   open      user_events-0-0    tombstone        1  2026-09-21T12:00:00Z",
    ] == [*lines]


def test_terminal_escape_sequences_are_escaped() -> None:
    """Any Kafka client can put them into keys, header names and header values."""
    letter = a_letter(0, topic="other\x1b[2J", error="\x1b]0;title\x07\n\u202e")
    record = FakeRecord(value=None, key=b"\x1b[31m", headers=(("\x1b[2K", b"\x1b[1A"),))

    lines = [
        *letter_lines([ClassifiedDeadLetter(letter=letter, state=State.OPEN)]),
        *record_lines(record, max_bytes=16),
    ]

    assert all(line.isprintable() for line in lines)
    assert "other\\x1b[2J-0-0" in lines[1]
    assert lines[1].endswith(r"\x1b]0;title\x07 \u202e")
    assert lines[-1].startswith(r"\x1b[2K")


def test_counts_by_reason_are_a_table() -> None:
    """The column "unknown" appears only if a state is unknown."""
    letters = [a_letter(0), a_letter(1, attempt=2, failed_at=AT + timedelta(days=1)), a_letter(2, reason=Reason.EMPTY)]
    known = histogram([ClassifiedDeadLetter(letter=letter, state=State.OPEN) for letter in letters])
    unknown = histogram([ClassifiedDeadLetter(letter=letters[0], state=State.UNKNOWN)])

    assert [
        "reason  letters  open  in topic  stored  superseded  attempts  first failed at       last failed at",
        "empty         3     3         0       0           0  1–2       2026-09-21T12:00:00Z  2026-09-22T12:00:00Z",
    ] == [*reason_lines(known)]
    assert "unknown" in reason_lines(unknown)[0]


def test_a_letter_and_the_counts_of_a_reason_are_json() -> None:
    """These keys are part of the contract."""
    letter = a_letter(24, origin=118, partition=2)
    (row,) = histogram([ClassifiedDeadLetter(letter=letter, state=State.IN_TOPIC)])

    assert {
        "partition": 0,
        "offset": 24,
        "id": f"{TOPIC_ID}-2-118",
        "origin": {
            "topic": "user_events",
            "partition": 2,
            "offset": 118,
            "timestamp": NOW,
            "incarnation": TOPIC_ID,
        },
        "reason": "empty",
        "attempt": 1,
        "failed_at": "2026-09-21T12:00:00+00:00",
        "schema_id": 7,
        "size": 4,
        "error": "no bytes",
    } == json.loads(json.dumps(letter_json(letter)))
    assert {
        "reason": "empty",
        "letters": 1,
        "open": 0,
        "in_topic": 1,
        "stored": 0,
        "superseded": 0,
        "unknown": 0,
        "attempts": {"1": 1},
        "first_failed_at": "2026-09-21T12:00:00+00:00",
        "last_failed_at": "2026-09-21T12:00:00+00:00",
    } == json.loads(json.dumps(summary_json(row)))


def test_a_record_is_json_with_its_bytes_in_base64() -> None:
    """A missing key or header value is null."""
    record = FakeRecord(value=b"\xff\x00", key=None, offset=5, headers=(("trace", b"\xfe"), ("none", None)))
    parsed = json.loads(json.dumps(record_json(record)))

    assert b"\xff\x00" == base64.b64decode(parsed["value"])
    assert (None, 5, NOW) == (parsed["key"], parsed["offset"], parsed["timestamp"])
    assert [{"name": "trace", "value": "/g=="}, {"name": "none", "value": None}] == parsed["headers"]


def test_a_record_is_text_with_a_hex_dump() -> None:
    """The dump has the first bytes; values that are not printable text appear as Python literals."""
    record = FakeRecord(
        value=b"0123456789abcdef\x00",
        key=b"k",
        topic="t.dlq",
        offset=5,
        headers=(("trace", b"\xfe"), ("odd", b"a\nb"), ("none", None)),
    )

    assert [
        "at         t.dlq, partition 0, offset 5",
        f"timestamp  {NOW} (2026-09-21T14:13:20Z)",
        "key        k",
        "value      17 bytes",
        "trace      b'\\xfe'",
        "odd        'a\\nb'",
        "none       null",
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
        "… 1 more bytes; --raw writes all bytes",
    ] == [*record_lines(record, max_bytes=16)]


@pytest.mark.parametrize(("timestamp", "expected"), [(2**62, "not a date"), (-1, "unknown")])
def test_a_record_without_value_and_without_a_possible_time_is_shown(timestamp: int, expected: str) -> None:
    """Nothing of this raises an error."""
    lines = [*record_lines(FakeRecord(value=None, key=None, timestamp=timestamp), max_bytes=16)]

    assert f"timestamp  {timestamp} ({expected})" == lines[1]
    assert ["key        null", "value      null"] == lines[2:]


def test_a_hex_dump_has_offset_bytes_and_ascii() -> None:
    """Bytes that are not printable ASCII appear as dots."""
    assert [
        "00000000  41 00 7f" + " " * 39 + "  A..",
    ] == [*hex_lines(b"A\x00\x7f")]
