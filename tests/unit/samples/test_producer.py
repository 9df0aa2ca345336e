"""The events due by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError, for_code
from confluent_kafka import KafkaError
from faust.exceptions import ProducerSendError

from streamapp.retry import OutageRetrier, RetryPolicy
from streamapp.samples.generator import samples
from streamapp.samples.producer import MAX_BEHIND, Pace, SampleProducer
from streamapp.transport.error_codes import name_error_codes


def test_the_first_event_is_due_at_once() -> None:
    """And one after each interval."""
    pace = Pace(2.0)

    assert [1, 0, 1, 0, 1] == [pace.due(now) for now in (10.0, 11.9, 12.0, 13.0, 14.5)]


def test_a_late_tick_loses_nothing() -> None:
    """What has become due meanwhile is made up for."""
    pace = Pace(0.1)
    pace.due(0.0)

    assert pace.due(1.05) == 10
    assert pace.due(1.1) == 1


def test_a_long_outage_is_not_made_up_for() -> None:
    """Or it would end in a flood."""
    pace = Pace(0.01)
    pace.due(0.0)

    assert pace.due(3600.0) == MAX_BEHIND
    assert pace.due(3600.0) == 0


def test_a_failing_broker_loses_no_event() -> None:
    """Each is sent again until it is acknowledged."""
    sent: list[dict[str, Any]] = []
    failures = iter([True, True])

    async def send(_: str, event: dict[str, Any]) -> Awaitable[Any]:
        async def acknowledge() -> None:
            if next(failures, False):
                raise KafkaTimeoutError
            sent.append(event)

        return acknowledge()

    quick = OutageRetrier("Kafka", policy=RetryPolicy(first_wait=0, max_wait=0))
    producer = SampleProducer(
        samples(seed=1, v2_ratio=0.5), pace=Pace(1.0), send=send, outages=quick, clock=lambda: 1_790_000_000.5
    )

    asyncio.run(scenario(producer))

    assert producer.sent == len(sent) == 4
    assert {1_790_000_000_500} == {event["event_timestamp"] for event in sent}
    assert producer.is_idle


def test_a_missing_right_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Whether Kafka refuses the event at once, or Faust wraps the error; the event is sent once the right is there."""
    error = TopicAuthorizationFailedError("orders")
    wrapped = ProducerSendError("cannot send")
    wrapped.__cause__ = error
    refusals = [error, wrapped]

    send_one(refusals)

    (message,) = [text for text in caplog.messages if "refuses access" in text]
    for words in ("orders", "STREAMAPP_KAFKA_SASL_USERNAME", "the right WRITE to the topic (STREAMAPP_TOPIC)"):
        assert words in message


def test_a_refused_record_has_its_remedy(caplog: pytest.LogCaptureFixture) -> None:
    """Also for a code that aiokafka does not know."""
    name_error_codes()
    refusals = [for_code(KafkaError.INVALID_RECORD)()]

    send_one(refusals)

    assert "[Error 87] InvalidRecordError. If cleanup.policy of the topic contains compact" in caplog.text


def send_one(refusals: Sequence[Exception]) -> None:
    """Send an event, which is refused with each of these errors first."""
    left = iter(refusals)

    async def send(_: str, _event: dict[str, Any]) -> Awaitable[Any]:
        if (refusal := next(left, None)) is not None:
            raise refusal
        return asyncio.sleep(0)

    quick = OutageRetrier("Kafka", policy=RetryPolicy(first_wait=0, max_wait=0))
    producer = SampleProducer(samples(seed=1, v2_ratio=0.5), pace=Pace(1.0), send=send, outages=quick)

    asyncio.run(producer.produce_due(0.0))

    assert producer.sent == 1


async def scenario(producer: SampleProducer) -> None:
    """One event at once, three more three seconds later."""
    await producer.produce_due(0.0)
    await producer.produce_due(3.0)
