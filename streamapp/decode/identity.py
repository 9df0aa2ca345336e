"""Whether two documents with the same `_id` are the same event.

A broker that loses the end of its log gives the lost offsets to other records. Their events would have the `_id` of
stored ones. The Kafka timestamp and the fields that every event has tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from zlib import crc32

from bson import DatetimeMS

from streamapp.decode.document import Document, decoded, values_of
from streamapp.model.user_event import REQUIRED, TIME

#: What is read of a stored document to compare it.
FIELDS = (*(field.path for field in REQUIRED), "kafka.timestamp")

#: The values of the required fields other than the time. Their order is part of the checksum in an `_id`.
_values_of = values_of(field for field in REQUIRED if field.path != TIME)


def is_another_event(came: Document, stored: Mapping[str, Any]) -> bool:
    """Whether a stored document with the `_id` of an event that came holds another event; False if it cannot tell."""
    theirs = _fingerprint(stored)
    return theirs is not None and theirs != _fingerprint(decoded(came))


def with_id_of_its_own(document: Document) -> dict[str, Any]:
    """The document under an `_id` of its own: the usual one, the Kafka timestamp, and a checksum of the event."""
    fields = decoded(document)
    fingerprint = _fingerprint(fields) or ()
    checksum = crc32(repr(fingerprint).encode("utf-8", "surrogatepass"))
    return {**fields, "_id": f"{fields['_id']}-{_millis(fields['kafka']['timestamp'])}-{checksum:08x}"}


def has_id_of_its_own(stored: Mapping[str, Any], usual_id: str) -> bool:
    """Whether a stored document has the `_id` that `with_id_of_its_own` gives it."""
    return _fingerprint(stored) is not None and with_id_of_its_own({**stored, "_id": usual_id})["_id"] == stored["_id"]


def _fingerprint(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What two deliveries of a record have in common; None for a document that lacks a part of it."""
    try:
        return (
            str(_millis(document["kafka"]["timestamp"])),
            str(int(document[TIME])),
            *map(str, _values_of(document)),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _millis(value: object) -> int | None:
    """The Kafka timestamp; None for a record without one."""
    return (
        None if value is None else int(value if isinstance(value, DatetimeMS) else DatetimeMS(cast("datetime", value)))
    )
