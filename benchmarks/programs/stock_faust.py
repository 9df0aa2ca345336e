"""`python -m benchmarks.programs.stock_faust worker`: a Faust agent as in Faust's guide, on the stock transport."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import faust
from pymongo import AsyncMongoClient

from benchmarks.programs.documents import Decoder

_BATCH, _WITHIN_SECONDS = 1_000, 0.5

app = faust.App(
    os.environ["STREAMAPP_APP_ID"],
    broker=f"kafka://{os.environ['STREAMAPP_KAFKA_BOOTSTRAP_SERVERS']}",
    datadir=tempfile.mkdtemp(),
    topic_disable_leader=True,
)
topic = app.topic(os.environ["STREAMAPP_TOPIC"], value_type=bytes, value_serializer="raw")
decoder = Decoder(os.environ["STREAMAPP_SCHEMA_REGISTRY_URL"])
client = AsyncMongoClient[dict[str, Any]](os.environ["STREAMAPP_MONGO_URI"])
collection = client[os.environ["STREAMAPP_MONGO_DATABASE"]]["events"]


@app.agent(topic)
async def store(stream: faust.StreamT) -> None:
    """Store each batch; Faust acknowledges a batch when the next one is requested."""
    async for events in stream.take_events(_BATCH, within=_WITHIN_SECONDS):
        await collection.insert_many([_document(event) for event in events], ordered=False)


def _document(event: faust.EventT) -> dict[str, Any]:
    message = event.message
    return decoder.document(
        event.value,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=int(message.timestamp * 1000),
    )


if __name__ == "__main__":
    app.main()
