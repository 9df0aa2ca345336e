"""What Kafka tells of its topics."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamapp.errors import BrokerUnavailable, SettingsError
from streamapp.kafka.admin import KafkaAdmin


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("J287Vgn7R/as2BYzKvgC+w", "J287Vgn7R_as2BYzKvgC-w"),
        ("OeCM9eLtSVuj9YrtNq4ZGg", "OeCM9eLtSVuj9YrtNq4ZGg"),
        ("AAAAAAAAAAAAAAAAAAAAAA", None),
    ],
)
def test_incarnations_are_base64url(told: str, expected: str | None) -> None:
    """As Kafka's own tools write them; a broker without topic ids tells of zero bytes."""
    broker = KafkaAdmin("127.0.0.1:1")
    answer: Future[SimpleNamespace] = Future()
    answer.set_result(SimpleNamespace(topic_id=told))
    broker._admin = SimpleNamespace(describe_topics=lambda *_, **__: {"user_events": answer})

    assert expected == asyncio.run(broker.topic_id_of("user_events"))


class FakeAdmin:
    """Has these topics, and refuses to make others if it has an error for them."""

    def __init__(self, *topics: str, error: Any = None, knows_after_max: bool = True) -> None:
        self.topics = set(topics)
        self.error = error
        self.knows_after_max = knows_after_max
        self.made: list[Any] = []
        self.late = 0

    def list_topics(self, **_: Any) -> SimpleNamespace:
        """List them."""
        return SimpleNamespace(topics=dict.fromkeys(self.topics))

    def create_topics(self, new: list[Any], **_: Any) -> dict[str, Future[None]]:
        """Make one, or refuse."""
        answer: Future[None] = Future()
        error = self.error
        if not self.knows_after_max and "message.timestamp.after.max.ms" in new[0].config:
            error = KafkaError(KafkaError.INVALID_CONFIG, "Unknown topic config name")
        if error is None:
            self.made += new
            answer.set_result(None)
        else:
            answer.set_exception(KafkaException(error))
        return {new[0].topic: answer}

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future[dict[str, Any]]]:
        """Tell nothing, and not at once."""
        answer: Future[dict[str, Any]] = Future()
        if self.late:
            self.late -= 1
            answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        else:
            answer.set_result({})
        return {resources[0]: answer}


def ensure(admin: FakeAdmin) -> None:
    """Ensure the topics t and t.dlq."""
    broker = KafkaAdmin("127.0.0.1:1")
    broker._admin = admin
    asyncio.run(broker.ensure_topics(topic="t", partitions=1, dead_letter_topic="t.dlq"))


def test_topics_that_are_there_take_no_right_to_make_them() -> None:
    """A cluster may keep that for its operators."""
    ensure(FakeAdmin("t", "t.dlq", error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))


def test_a_broker_that_does_not_know_the_bound_on_timestamps_makes_the_topic_without() -> None:
    """The one key only: the rest keeps dead letters from being deleted."""
    admin = FakeAdmin("t", knows_after_max=False)

    ensure(admin)

    (made,) = admin.made
    expected = {"max.message.bytes", "cleanup.policy", "retention.ms", "retention.bytes"}
    assert ("t.dlq", expected) == (made.topic, made.config.keys())


@pytest.mark.parametrize("there", [(), ("t",)])
@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    ],
)
def test_a_refusal_for_good_is_a_wrong_setting(code: int, there: tuple[str, ...]) -> None:
    """Waiting does not mend it; the words say what does."""
    with pytest.raises(SettingsError, match="refuses to make the topic t"):
        ensure(FakeAdmin(*there, error=KafkaError(code, "no")))


def test_any_other_answer_is_an_outage() -> None:
    """It may be another one later."""
    with pytest.raises(BrokerUnavailable):
        ensure(FakeAdmin(error=KafkaError(KafkaError.NOT_CONTROLLER)))


def test_a_topic_that_was_just_made_may_be_unknown_for_a_moment() -> None:
    """The broker that is asked is not the one that made it."""
    admin = FakeAdmin()
    admin.late = 2

    ensure(admin)
    assert admin.late == 0
