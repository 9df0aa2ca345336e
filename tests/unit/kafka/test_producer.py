"""What waits in a producer is bounded, and waited for."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from streamapp.kafka import producer as kafka_producer

MIB = 1024 * 1024


@contextmanager
def producer_to_nowhere(max_message_bytes: int) -> Generator[Producer]:
    """Yield one that delivers nothing."""
    producer = kafka_producer.producer("127.0.0.1:1", max_message_bytes=max_message_bytes, timeout_seconds=60)
    yield producer
    producer.purge()
    producer.flush(10)


@pytest.mark.parametrize(
    ("size", "most"), [(MIB, kafka_producer.QUEUE_BYTES // MIB), (1, kafka_producer.QUEUE_RECORDS)]
)
def test_what_waits_is_bounded_in_bytes_and_in_records(size: int, most: int) -> None:
    """However long Kafka is away."""
    value = b"x" * size

    with producer_to_nowhere(2 * MIB) as producer:
        for _ in range(most):
            producer.produce("x", value)
        with pytest.raises(BufferError):
            producer.produce("x", value)


def test_a_record_larger_than_what_may_wait_is_taken_where_the_topic_takes_it() -> None:
    """Alone."""
    size = kafka_producer.QUEUE_BYTES + MIB

    with producer_to_nowhere(size + MIB) as producer:
        producer.produce("x", b"x" * size)

        assert len(producer) > 0


class _Full:
    """A producer whose queue has room after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.taken = 0

    def produce(self) -> None:
        if self.looks:
            raise BufferError
        self.taken += 1

    def poll(self, _: float) -> None:
        self.looks -= 1


def test_a_full_queue_is_waited_for() -> None:
    """And then takes the record once."""
    producer = _Full(3)

    kafka_producer.hand_over(producer, producer.produce)

    assert (0, 1) == (producer.looks, producer.taken)


def test_a_full_queue_is_waited_for_no_longer_than_is_asked() -> None:
    """As by a worker that ends."""
    producer = _Full(1_000)

    kafka_producer.hand_over(producer, producer.produce, until=lambda: producer.looks <= 990)

    assert (990, 0) == (producer.looks, producer.taken)
