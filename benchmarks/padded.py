"""Events of a given size in a topic of their own: V2 events with one more field, like the next schema of a team."""

from __future__ import annotations

import json
import random
import string
import time
from itertools import islice

import fastavro
import httpx

from streamapp.connections.kafka import KafkaConnection
from streamapp.decode import wire_format
from streamapp.model import event
from streamapp.samples import generator

#: Approximate size of an event without that field.
PLAIN_BYTES = 60
_TEXT_CHARACTERS = 100_000
#: Number of records that librdkafka queues by default; so many are sent at a time.
_BATCH = 10_000


def write(topic: str, events: int, *, size: int, servers: str, registry_url: str) -> None:
    """Write `events` events of about `size` bytes."""
    v2 = event.schema(2)
    schema = {**v2, "fields": [*v2["fields"], {"name": "note", "type": "string", "default": ""}]}
    schema_id = _register(schema, f"{topic}-value", registry_url)
    parsed = fastavro.parse_schema(schema, named_schemas={})
    source = random.Random(1)  # noqa: S311 - sample data
    text = "".join(source.choices(string.ascii_letters, k=_TEXT_CHARACTERS))
    producer = KafkaConnection(servers=servers).producer({"linger.ms": 20}, compression="lz4")
    for number, sample in enumerate(islice(generator.samples(seed=1, v2_ratio=1), events)):
        begin, length = source.randrange(_TEXT_CHARACTERS // 2), max(0, size - PLAIN_BYTES)
        made = {**sample.event(at=time.time_ns() // 1_000_000), "note": text[begin : begin + length]}
        producer.produce(topic, wire_format.write(made, schema=parsed, schema_id=schema_id), made["user_id"].encode())
        if number % _BATCH == 0:
            producer.flush()
    producer.flush()


def _register(schema: event.Schema, subject: str, registry_url: str) -> int:
    body = {"schema": json.dumps(schema)}
    answer = httpx.post(f"{registry_url}/subjects/{subject}/versions", json=body).raise_for_status()
    return answer.json()["id"]
