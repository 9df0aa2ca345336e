"""The queue of a producer is bounded, and callers wait while it is full."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka import producer as kafka_producer

MIB = 1024 * 1024


@contextmanager
def producer_to_nowhere(max_message_bytes: int) -> Generator[Producer]:
    """Yield a producer that can deliver nothing."""
    producer = kafka_producer.producer(
        KafkaConnection(servers="127.0.0.1:1"), max_message_bytes=max_message_bytes, timeout_seconds=60
    )
    yield producer
    producer.purge()
    producer.flush(10)


@pytest.mark.parametrize(
    ("size", "most"), [(MIB, kafka_producer.QUEUE_BYTES // MIB), (1, kafka_producer.QUEUE_RECORDS)]
)
def test_the_queue_is_bounded_in_bytes_and_in_records(size: int, most: int) -> None:
    """Memory stays bounded while Kafka is unreachable."""
    value = b"x" * size

    with producer_to_nowhere(2 * MIB) as producer:
        for _ in range(most):
            producer.produce("x", value)
        with pytest.raises(BufferError):
            producer.produce("x", value)


def test_a_record_larger_than_the_queue_is_accepted_if_the_topic_accepts_it() -> None:
    """It then waits alone."""
    size = kafka_producer.QUEUE_BYTES + MIB

    with producer_to_nowhere(size + MIB) as producer:
        producer.produce("x", b"x" * size)

        assert len(producer) > 0


class _FullProducer:
    """A producer whose queue has room after a number of polls."""

    def __init__(self, polls: int) -> None:
        self.polls = polls
        self.produced = 0

    def produce(self) -> None:
        if self.polls:
            raise BufferError
        self.produced += 1

    def poll(self, _: float) -> None:
        self.polls -= 1


def test_enqueue_waits_while_the_queue_is_full() -> None:
    """The record is then produced once."""
    producer = _FullProducer(3)

    kafka_producer.enqueue(producer, producer.produce)

    assert (0, 1) == (producer.polls, producer.produced)


def test_enqueue_gives_up_on_request() -> None:
    """A worker that stops does not wait for room."""
    producer = _FullProducer(1_000)

    kafka_producer.enqueue(producer, producer.produce, until=lambda: producer.polls <= 990)

    assert (990, 0) == (producer.polls, producer.produced)
