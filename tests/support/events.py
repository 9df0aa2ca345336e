"""Events as other programs send them: two versions, an unannounced third, and poisons of every kind."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from streamapp.model import event
from streamapp.settings import Settings
from tests.support import foreign

STARTED = int(time.time() * 1000)
V3 = {
    **event.schema(2),
    "doc": "Nobody announced it.",
    "fields": [
        *event.schema(2)["fields"],
        {
            "name": "basket_value",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}],
            "default": None,
        },
        {"name": "seen_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
    ],
}
ORDER = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "double"}]}


def an_event(number: int, **more: Any) -> dict[str, Any]:
    """Return event number `number`."""
    return {
        "user_id": f"user-{number % 97}",
        "event_type": ("click", "search", "purchase")[number % 3],
        "event_timestamp": STARTED - number,
        "metadata": {"device": ("mobile", "desktop")[number % 2], "location": "DE"},
        **more,
    }


class Senders:
    """Three versions, and what each event must become."""

    def __init__(self, settings: Settings) -> None:
        self.schemas = {1: event.schema(1), 2: event.schema(2), 3: V3}
        self.ids = {version: foreign.register(settings, schema) for version, schema in self.schemas.items()}
        self._settings = settings
        self._writers = {version: foreign.writer(schema, self.ids[version]) for version, schema in self.schemas.items()}

    def announce(self) -> int:
        """Register one more version, with a field of its own, that nobody has seen yet; return its number."""
        version = len(self.schemas) + 1
        more = {"name": f"more_{version}", "type": ["null", "string"], "default": None}
        schema = {**self.schemas[version - 1], "fields": [*self.schemas[version - 1]["fields"], more]}
        self.ids[version] = foreign.register(self._settings, schema)
        self._writers[version] = foreign.writer(schema, self.ids[version])
        self.schemas[version] = schema
        return version

    def event(self, number: int, version: int, **more: Any) -> tuple[bytes, dict[str, Any]]:
        """Return an event's wire bytes, and the document that it must become, but for its coordinates."""
        values = an_event(number, **more)
        if version >= 2:
            values["browser"] = ("firefox", None)[number % 2]
        if version >= 3:
            values |= {"basket_value": None, "seen_at": datetime(2026, 1, 1, 0, 0, 0, number % 1_000_000, UTC)}
        values |= {f"more_{added}": f"{number}" for added in range(4, version + 1)}
        document = {"browser": None, **values, "schema_version": f"v{version}", "schema_id": self.ids[version]}
        if version >= 3:
            document["seen_at"] = datetime(2026, 1, 1, 0, 0, 0, number % 1_000_000 // 1000 * 1000, UTC)
        return self._writers[version](values), document


def as_written(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the fields that later versions have, and that are null in it.

    A worker adds them to the events that it stores after it has learned of the version.
    """
    version = document.get("schema_version", "")
    number = int(version[1:]) if version.startswith("v") else 0
    later = {"basket_value", "seen_at"} if number < 3 else set[str]()
    later |= {name for name in document if name.startswith("more_") and int(name.removeprefix("more_")) > number}
    return {name: value for name, value in document.items() if name not in later or value is not None}


def poisons(v1_id: int, unrelated_id: int) -> list[tuple[bytes | None, str]]:
    """Return 25 records that can never be stored, each with the reason that it must get."""
    good = foreign.wire(an_event(1), event.schema(1), v1_id)
    v2_as_v1 = foreign.wire(an_event(1, browser="x"), event.schema(2), v1_id)

    def at(timestamp: int) -> bytes:
        return foreign.wire(an_event(1, event_timestamp=timestamp), event.schema(1), v1_id)

    now = int(time.time() * 1000)
    return [
        (b"", "empty"),
        (None, "tombstone"),
        (None, "tombstone"),
        (b'{"user_id": "u"}', "bad-magic-byte"),
        (b"\x01" + good[1:], "bad-magic-byte"),
        (b"\x7f", "bad-magic-byte"),
        (b"\x00", "truncated"),
        (b"\x00\x00\x00\x00", "truncated"),
        (good[:5], "truncated"),
        (good[:-1], "truncated"),
        (good[: len(good) // 2], "truncated"),
        (b"\x00\x7f\xff\xff\xf0" + good[5:], "unknown-schema-id"),
        (b"\x00\x00\x0f\x42\x40" + good[5:], "unknown-schema-id"),
        (b"\x00\xff\xff\xff\xff" + good[5:], "unknown-schema-id"),
        (b"\x00\x00\x00\x00\x00" + good[5:], "unknown-schema-id"),
        (good + b"\x00", "undecodable"),
        (v2_as_v1, "undecodable"),
        (good[:5] + b"\x04\xff\xfe" + good[5:], "undecodable"),
        (foreign.wire({"total": 9.5}, ORDER, unrelated_id), "incompatible-schema"),
        (foreign.wire({"total": -1.0}, ORDER, unrelated_id), "incompatible-schema"),
        (at(0), "timestamp-out-of-range"),
        (at(946_684_799_999), "timestamp-out-of-range"),
        (at(-1), "timestamp-out-of-range"),
        (at(now + 25 * 3_600_000), "timestamp-out-of-range"),
        (at(2**62), "timestamp-out-of-range"),
    ]
