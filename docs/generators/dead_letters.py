"""What a dead letter says: the headers that the worker adds, the reasons, and the states that `dlq list` shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from generators.markdown import table
from streamapp.dlq.index import State
from streamapp.explain.reasons import ADVICE
from streamapp.kafka.dead_letter_contents import headers_of
from streamapp.model.record import HEADER_PREFIX, DeadLetter, Reason, TopicRecord, origin_of

HEADERS = {
    "reason": "Why the record cannot be stored; one of the reasons below.",
    "error": "What exactly is wrong, at most 1 KiB.",
    "topic": "Topic in which the record first stood.",
    "partition": "Partition in which the record first stood.",
    "offset": "Offset at which the record first stood.",
    "timestamp": "The record's Kafka timestamp, epoch ms.",
    "schema_id": "Schema id on the wire; empty if it could not be read.",
    "failed_at": "When the worker dead-lettered the record, ISO 8601, UTC.",
    "attempt": "1 the first time; one more after each replay that failed again.",
    "incarnation": "Topic id (UUID) of the original topic; empty if the broker has none.",
}
STATES = {
    State.OPEN: "Nothing has been done yet.",
    State.IN_TOPIC: (
        "A record of the event is in the original topic, and the worker's group has not read it yet:"
        " it was replayed, or Kafka delivers it again."
    ),
    State.STORED: "The event is in MongoDB, under the `_id` of its origin.",
    State.SUPERSEDED: "The event failed again, or the same dead letter was delivered twice: a later one stands for it.",
    State.UNKNOWN: "MongoDB did not answer.",
}
_EXAMPLE = TopicRecord("user_events", 3, 4711, 1_795_599_820_641, b"user-0007", b"", [])


def headers() -> str:
    """Render the headers with an example each."""
    rows = [(f"`{HEADER_PREFIX}{name}`", f"`{value}`", HEADERS[name]) for name, value in example_headers().items()]
    return table(["header", "example", "meaning"], rows)


def example_headers() -> Mapping[str, str]:
    """The headers of a dead letter, without their prefix."""
    origin = origin_of(_EXAMPLE, "1QVzBUszRfKP6fu_1KfdsQ")
    letter = DeadLetter(record=_EXAMPLE, origin=origin, reason=Reason.EMPTY, error="the value is empty", schema_id=2)
    found = headers_of(letter, failed_at=datetime(2026, 11, 25, 9, 43, 44, tzinfo=UTC))
    return {name.removeprefix(HEADER_PREFIX): (value or b"").decode() for name, value in found}


def reasons() -> str:
    """Render the reasons."""
    rows = [(f"`{reason}`", *ADVICE[reason]) for reason in Reason]
    return table(["reason", "what is wrong", "what to do"], rows)


def states() -> str:
    """Render the states."""
    return table(["state", "meaning"], [(state.value, STATES[state]) for state in State])
