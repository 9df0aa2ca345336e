"""The same events as JSON in a topic of their own, for programs that do not read Avro."""

from __future__ import annotations

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import NewTopic

from benchmarks.programs.documents import Decoder
from streamapp.connections.kafka import KafkaConnection

_BATCH = 5_000
_GIVE_UP_AFTER_SECONDS = 300.0


def write(topic: str, events: int, *, partitions: int, servers: str, registry_url: str) -> str:
    """Write the topic's events as JSON, with the same keys and partitions; return the name of the new topic."""
    twin, decoder, give_up_at = f"{topic}.json", Decoder(registry_url), time.monotonic() + _GIVE_UP_AFTER_SECONDS
    admin = KafkaConnection(servers=servers).admin()  # must outlive the request
    admin.create_topics([NewTopic(twin, partitions)])[twin].result(20)
    producer = KafkaConnection(servers=servers).producer({"linger.ms": 20}, compression="lz4")
    consumer = KafkaConnection(servers=servers).consumer({"group.id": "twin", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    written = 0
    while written < events:
        messages = consumer.consume(_BATCH, timeout=1)
        for message in messages:
            value = json.dumps(decoder.event(message.value()), separators=(",", ":"))
            producer.produce(twin, value, message.key(), message.partition())
        producer.flush()
        written += len(messages)
        if time.monotonic() > give_up_at:
            sys.exit(f"{written} of {events} events are in {twin}: given up")
    consumer.close()
    return twin
