"""`python -m benchmarks.programs.loop`: a fast, short, hand-written loop; a crash may store events twice."""

from __future__ import annotations

import os
from typing import Any

from confluent_kafka import Consumer
from pymongo import MongoClient

from benchmarks.programs.documents import Decoder

_BATCH = 5_000


def main() -> None:
    """Read a batch, store it, commit."""
    decoder = Decoder(os.environ["STREAMAPP_SCHEMA_REGISTRY_URL"])
    client = MongoClient[dict[str, Any]](os.environ["STREAMAPP_MONGO_URI"])
    collection = client[os.environ["STREAMAPP_MONGO_DATABASE"]]["events"]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["STREAMAPP_KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": os.environ["STREAMAPP_APP_ID"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ["STREAMAPP_TOPIC"]])
    while True:
        # `consume` alone would wait for a full batch.
        if first := consumer.poll(0.1):
            messages = [first, *consumer.consume(_BATCH - 1, timeout=0)]
            collection.insert_many([decoder.of(message) for message in messages], ordered=False)
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
