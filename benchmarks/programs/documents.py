"""The documents that the other Python programs store, without streamapp's checks: a bad record ends them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fastavro
import httpx

if TYPE_CHECKING:
    from confluent_kafka import Message

#: Magic byte and schema id.
_HEADER_BYTES = 5


class Decoder:
    """Decodes Avro events by the schema id on the wire."""

    def __init__(self, registry_url: str) -> None:
        self._registry_url = registry_url
        self._schemas: dict[int, Any] = {}

    def event(self, value: bytes) -> dict[str, Any]:
        """Return the event with its schema id."""
        schema_id = int.from_bytes(value[1:_HEADER_BYTES], "big")
        body = io.BytesIO(value)
        body.seek(_HEADER_BYTES)
        event = fastavro.schemaless_reader(body, self._schema(schema_id), None)
        return {"browser": None, **event, "schema_id": schema_id}

    def of(self, message: Message) -> dict[str, Any]:
        """Return the document of a confluent-kafka message."""
        return self.document(
            message.value(),
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp=message.timestamp()[1],
        )

    def document(self, value: bytes, *, topic: str, partition: int, offset: int, timestamp: int) -> dict[str, Any]:
        """Return the document; MongoDB gives it an `_id`."""
        return {
            **self.event(value),
            "received_at": datetime.now(UTC),
            "kafka": {"topic": topic, "partition": partition, "offset": offset, "timestamp": timestamp},
        }

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            found = httpx.get(f"{self._registry_url}/schemas/ids/{schema_id}").raise_for_status().json()
            self._schemas[schema_id] = fastavro.parse_schema(json.loads(found["schema"]), named_schemas={})
        return self._schemas[schema_id]
