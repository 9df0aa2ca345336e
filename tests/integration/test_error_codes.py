"""Errors of a real broker that aiokafka does not know."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import BrokerResponseError
from confluent_kafka import KafkaError

from streamapp.settings import Settings
from streamapp.transport.error_codes import name_error_codes
from tests.support import foreign


def test_a_record_that_the_broker_refuses_has_the_number_of_its_error(settings: Settings) -> None:
    """A compacted topic accepts no record without key."""
    foreign.make_topic(settings, **{"cleanup.policy": "compact"})
    name_error_codes()

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
            await producer.send_and_wait(settings.topic, b"value")

    with pytest.raises(BrokerResponseError, match=r"\[Error 87\] InvalidRecordError") as refused:
        asyncio.run(send())

    assert KafkaError.INVALID_RECORD == refused.value.errno
