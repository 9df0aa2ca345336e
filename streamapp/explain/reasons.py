"""What each reason of a dead letter means, and what an operator can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streamapp.model.record import Reason


class Advice(NamedTuple):
    """What is wrong, and what to do."""

    meaning: str
    remedy: str


_CORRECT_PRODUCER = "Usually nothing: correct the producer."
ADVICE: Mapping[Reason, Advice] = {
    Reason.EMPTY: Advice("The value has no bytes.", _CORRECT_PRODUCER),
    Reason.TOMBSTONE: Advice("The value is null.", _CORRECT_PRODUCER),
    Reason.BAD_MAGIC_BYTE: Advice(
        "The first byte is not 0: this is not Confluent's wire format.", "Correct the producer."
    ),
    Reason.TRUNCATED: Advice("The record ends too early.", _CORRECT_PRODUCER),
    Reason.UNKNOWN_SCHEMA_ID: Advice(
        "The registry does not know the schema id, asked again for 5 s.",
        "Register the schema under that id, or correct `STREAMAPP_SCHEMA_REGISTRY_URL`; then replay.",
    ),
    Reason.UNDECODABLE: Advice("The bytes do not fit the writer's schema.", _CORRECT_PRODUCER),
    Reason.INCOMPATIBLE_SCHEMA: Advice(
        "The schema is registered, but the record is not a user event: a required field is missing, null or of another"
        " type.",
        "Correct the producer. To store these records, too, change the required fields in"
        " `streamapp/model/user_event.py`, restart the worker and replay.",
    ),
    Reason.TIMESTAMP_OUT_OF_RANGE: Advice(
        "The event time is too early, or too far ahead of the Kafka timestamp.",
        "If the times are right, change `STREAMAPP_MIN_EVENT_TIME` or `STREAMAPP_MAX_EVENT_LEAD_SECONDS`, restart the"
        " worker and replay.",
    ),
    Reason.REFUSED_BY_STORE: Advice(
        "MongoDB refuses the document: a validator, a unique index, a value that BSON cannot hold.",
        "Change what `streamapp.error` names in MongoDB; then replay.",
    ),
}
