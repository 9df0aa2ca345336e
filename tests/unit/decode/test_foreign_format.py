"""Dead letters of records whose producer writes the schema id in another way."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from streamapp.decode import batch
from streamapp.decode.document import EventTimes
from streamapp.model.record import DeadLetter, PartitionBatch, TopicRecord
from tests.support.factories import NOW, TOPIC_ID, V1, an_event, wire

BODY = wire(an_event())[5:]
GUID = b"\1" + bytes(range(16))


def dead_letter(value: bytes, *headers: tuple[str, bytes]) -> DeadLetter:
    """Decode one record, which becomes a dead letter."""
    record = TopicRecord("t", 0, 7, NOW, b"k", value, headers)
    one = PartitionBatch(
        topic="t", partition=0, topic_id=TOPIC_ID, assignment=1, begin=7, records=[record], size=len(value)
    )
    times = EventTimes(earliest=0, ahead=10**12)
    (decoded,) = batch.parts(one, {V1.schema_id: V1}, times=times, received_at=datetime.now(UTC))
    (letter,) = decoded.dead
    return letter


@pytest.mark.parametrize(
    ("value", "headers", "reason", "format_", "remedy"),
    [
        (BODY, [("__value_schema_id", GUID)], "bad-magic-byte", "__value_schema_id", "PrefixSchemaIdSerializer"),
        (BODY, [("apicurio.value.globalId", b"\0" * 7 + b"\1")], "bad-magic-byte", "Apicurio", "headers.enabled=false"),
        (b"\0" + struct.pack(">q", 7) + BODY, [], "unknown-schema-id", "eight-byte schema id (7)", "id-handler"),
        (b"\3\0" + bytes(16) + BODY, [], "bad-magic-byte", "AWS Glue", "not supported"),
    ],
    ids=["confluent header", "apicurio header", "apicurio long id", "glue"],
)
def test_the_error_names_format_and_remedy(
    value: bytes, headers: list[tuple[str, bytes]], reason: str, format_: str, remedy: str
) -> None:
    """The record is kept as it came, and can be produced again."""
    letter = dead_letter(value, *headers)

    assert reason == letter.reason
    assert format_ in letter.error
    assert remedy in letter.error
    assert (value, headers) == (letter.record.value, [*letter.record.headers])


@pytest.mark.parametrize("value", [b"junk", b"\0\0\0\0\0" + BODY, b"\0\0\0", b"\3\0short"])
def test_other_faults_name_no_format(value: bytes) -> None:
    """A guess would send the reader the wrong way."""
    assert "not supported" not in dead_letter(value).error
