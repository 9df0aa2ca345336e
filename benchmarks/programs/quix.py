# /// script
# requires-python = ">=3.11"
# dependencies = ["fastavro==1.13.1", "httpx==0.28.1", "pymongo==4.20.0", "quixstreams[mongodb]==3.28.1"]
# ///
"""`uv run --script benchmarks/programs/quix.py`: Quix Streams with its MongoDB sink, one document per coordinates.

It runs in an environment of its own, since Quix needs an older confluent-kafka; so it does not import streamapp.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import fastavro
import httpx
from pymongo.uri_parser import parse_uri
from quixstreams import Application
from quixstreams.sinks.community.mongodb import MongoDBSink

if TYPE_CHECKING:
    from quixstreams.sinks.base.item import SinkItem

#: Magic byte and schema id.
_HEADER_BYTES = 5


def main() -> None:
    """Decode each record; the sink writes the records since the last checkpoint, then Quix commits."""
    app = Application(
        broker_address=os.environ["STREAMAPP_KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["STREAMAPP_APP_ID"],
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(),
    )
    topic = app.topic(os.environ["STREAMAPP_TOPIC"], value_deserializer="bytes")
    app.dataframe(topic).apply(_event).sink(_sink())
    app.run()


def _sink() -> MongoDBSink:
    ((host, port),) = parse_uri(os.environ["STREAMAPP_MONGO_URI"])["nodelist"]
    return MongoDBSink(
        host=host,
        port=port,
        db=os.environ["STREAMAPP_MONGO_DATABASE"],
        collection="events",
        document_matcher=_coordinates,
        update_method="ReplaceOne",
        add_topic_metadata=True,
        directConnection=True,
    )


def _coordinates(item: SinkItem) -> dict[str, Any]:
    value = item.value
    return {"_id": f"{value['__topic']}-{value['__partition']}-{value['__offset']}"}


def _event(value: bytes) -> dict[str, Any]:
    # Quix's own deserializer, which is Confluent's, takes several times as long.
    schema_id = int.from_bytes(value[1:_HEADER_BYTES], "big")
    body = io.BytesIO(value)
    body.seek(_HEADER_BYTES)
    event = fastavro.schemaless_reader(body, _schema(schema_id), None)
    return {"browser": None, **event, "schema_id": schema_id, "received_at": datetime.now(UTC)}


@cache
def _schema(schema_id: int) -> Any:
    url = f"{os.environ['STREAMAPP_SCHEMA_REGISTRY_URL']}/schemas/ids/{schema_id}"
    schema = json.loads(httpx.get(url).raise_for_status().json()["schema"])
    return fastavro.parse_schema(schema, named_schemas={})


if __name__ == "__main__":
    main()
