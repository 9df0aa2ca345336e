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

from streamapp.decode.document import Document, LazyDocument

#: What is read of a stored document to compare it.
FIELDS = ("user_id", "event_type", "event_timestamp", "metadata.device", "metadata.location", "kafka.timestamp")


def is_another_event(came: Document, stored: Mapping[str, Any]) -> bool:
    """Whether a stored document with the `_id` of an event that came holds another event; False if it cannot tell."""
    theirs = _fingerprint(stored)
    return theirs is not None and theirs != _fingerprint(_with_fields(came))


def with_id_of_its_own(document: Document) -> dict[str, Any]:
    """The document under an `_id` of its own: the usual one, the Kafka timestamp, and a checksum of the event."""
    fields = _with_fields(document)
    fingerprint = _fingerprint(fields) or ()
    checksum = crc32(repr(fingerprint).encode("utf-8", "surrogatepass"))
    return {**fields, "_id": f"{fields['_id']}-{_millis(fields['kafka']['timestamp'])}-{checksum:08x}"}


def _with_fields(document: Document) -> dict[str, Any]:
    return document.decoded() if isinstance(document, LazyDocument) else document


def _fingerprint(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What two deliveries of a record have in common; None for a document that lacks a part of it."""
    try:
        metadata, timestamp = document["metadata"], _millis(document["kafka"]["timestamp"])
        texts = (document["user_id"], document["event_type"], metadata["device"], metadata["location"])
        return (str(timestamp), str(int(document["event_timestamp"])), *map(str, texts))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _millis(value: object) -> int | None:
    """The Kafka timestamp; None for a record without one."""
    return (
        None if value is None else int(value if isinstance(value, DatetimeMS) else DatetimeMS(cast("datetime", value)))
    )
