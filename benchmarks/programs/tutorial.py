"""`python -m benchmarks.programs.tutorial`: the loop of a typical tutorial, one record at a time."""

from __future__ import annotations

import os
from typing import Any

from confluent_kafka import Consumer
from pymongo import MongoClient

from benchmarks.programs.documents import Decoder


def main() -> None:
    """Read a record, store it; offsets are committed periodically."""
    decoder = Decoder(os.environ["STREAMAPP_SCHEMA_REGISTRY_URL"])
    client = MongoClient[dict[str, Any]](os.environ["STREAMAPP_MONGO_URI"])
    collection = client[os.environ["STREAMAPP_MONGO_DATABASE"]]["events"]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["STREAMAPP_KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": os.environ["STREAMAPP_APP_ID"],
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([os.environ["STREAMAPP_TOPIC"]])
    while True:
        message = consumer.poll(1.0)
        if message and not message.error():
            collection.insert_one(decoder.of(message))


if __name__ == "__main__":
    main()
