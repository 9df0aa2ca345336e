"""Topic ids, and the creation of the topics."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import AccessRefused, BrokerUnavailable, SettingsError
from streamapp.kafka.admin import KafkaAdmin


@pytest.mark.parametrize(
    ("topic_id", "expected"),
    [
        ("J287Vgn7R/as2BYzKvgC+w", "J287Vgn7R_as2BYzKvgC-w"),
        ("OeCM9eLtSVuj9YrtNq4ZGg", "OeCM9eLtSVuj9YrtNq4ZGg"),
        ("AAAAAAAAAAAAAAAAAAAAAA", None),
    ],
)
def test_topic_ids_are_base64url(topic_id: str, expected: str | None) -> None:
    """As in Kafka's own tools; a broker without topic ids returns zero bytes."""
    broker = KafkaAdmin(KafkaConnection(servers="127.0.0.1:1"))
    answer: Future[SimpleNamespace] = Future()
    answer.set_result(SimpleNamespace(topic_id=topic_id))
    broker._admin = SimpleNamespace(describe_topics=lambda *_, **__: {"user_events": answer})

    assert expected == asyncio.run(broker.topic_id_of("user_events"))


class FakeAdmin:
    """A cluster with these topics; it refuses to create others if it has an error."""

    def __init__(self, *topics: str, error: Any = None, knows_after_max: bool = True, hides: str = "") -> None:
        self.topics = set(topics)
        self.hides = hides
        self.error = error
        self.knows_after_max = knows_after_max
        self.created: list[Any] = []
        self.unknown_times = 0

    def list_topics(self, **_: Any) -> SimpleNamespace:
        """List them."""
        return SimpleNamespace(topics=dict.fromkeys(self.topics))

    def describe_topics(self, wanted: Any, **_: Any) -> dict[str, Future[None]]:
        """Describe a topic that is not listed."""
        answer: Future[None] = Future()
        (topic,) = wanted.topic_names
        is_hidden = topic == self.hides
        code = KafkaError.TOPIC_AUTHORIZATION_FAILED if is_hidden else KafkaError.UNKNOWN_TOPIC_OR_PART
        answer.set_exception(KafkaException(KafkaError(code)))
        return {topic: answer}

    def poll(self, _: float) -> None:
        """Report nothing."""

    def create_topics(self, new: list[Any], **_: Any) -> dict[str, Future[None]]:
        """Create a topic, or refuse."""
        answer: Future[None] = Future()
        error = self.error
        if not self.knows_after_max and "message.timestamp.after.max.ms" in new[0].config:
            error = KafkaError(KafkaError.INVALID_CONFIG, "Unknown topic config name")
        if error is None:
            self.created += new
            answer.set_result(None)
        else:
            answer.set_exception(KafkaException(error))
        return {new[0].topic: answer}

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future[dict[str, Any]]]:
        """Return an empty configuration; the topic is unknown the first times."""
        answer: Future[dict[str, Any]] = Future()
        if self.unknown_times:
            self.unknown_times -= 1
            answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        else:
            answer.set_result({})
        return {resources[0]: answer}


def ensure(admin: FakeAdmin, **values: Any) -> None:
    """Ensure the topics t and t.dlq."""
    broker = KafkaAdmin(KafkaConnection(servers="127.0.0.1:1", **values))
    broker._admin = admin
    asyncio.run(broker.ensure_topics(topic="t", partitions=1, dead_letter_topic="t.dlq"))


def test_existing_topics_need_no_right_to_create_topics() -> None:
    """Only the operators of a cluster may have that right."""
    ensure(FakeAdmin("t", "t.dlq", error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))


@pytest.mark.parametrize(("existing", "missing"), [((), "t"), (("t",), "t.dlq")])
def test_a_missing_topic_is_waited_for_where_topics_may_not_be_created(existing: tuple[str, ...], missing: str) -> None:
    """The message has the command that creates it, with a file of properties for a secured cluster."""
    admin = FakeAdmin(*existing)
    with pytest.raises(BrokerUnavailable, match="STREAMAPP_CREATE_TOPICS is false") as raised:
        ensure(admin, creates_topics=False, protocol="ssl")

    command = (
        f"kafka-topics --bootstrap-server 127.0.0.1:1 --command-config client.properties --create --topic {missing}"
    )
    assert f"{command} --partitions 1" in str(raised.value)
    assert ("retention.ms=-1" in str(raised.value)) == (missing == "t.dlq")
    assert [] == admin.created


def test_a_broker_without_a_limit_on_timestamps_creates_the_topic_without_it() -> None:
    """Only this key is left out: the others keep dead letters from being deleted."""
    admin = FakeAdmin("t", knows_after_max=False)

    ensure(admin)

    (created,) = admin.created
    expected = {"max.message.bytes", "cleanup.policy", "retention.ms", "retention.bytes"}
    assert ("t.dlq", expected) == (created.topic, created.config.keys())


@pytest.mark.parametrize("existing", [(), ("t",)])
@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
    ],
)
def test_a_permanent_refusal_is_a_settings_error(code: int, existing: tuple[str, ...]) -> None:
    """A retry does not help; the message says what does."""
    with pytest.raises(SettingsError, match="refuses to create the topic t"):
        ensure(FakeAdmin(*existing, error=KafkaError(code, "no")))


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED])
def test_a_missing_right_to_create_topics_is_waited_out(code: int) -> None:
    """An operator creates the topic, or gives the right; the message has the command."""
    with pytest.raises(BrokerUnavailable, match=r"refuses to create the topic t: no .*--create --topic t"):
        ensure(FakeAdmin(error=KafkaError(code, "no")))


@pytest.mark.parametrize("hidden", ["t", "t.dlq"])
def test_a_topic_that_the_user_may_not_see_is_not_called_missing(hidden: str) -> None:
    """And it is not created: an operator gives the right meanwhile."""
    admin = FakeAdmin(*{"t", "t.dlq"} - {hidden}, hides=hidden)

    with pytest.raises(
        AccessRefused, match=rf"the topic {hidden} does not exist, or the user has no right to it\. Give"
    ):
        ensure(admin)
    assert [] == admin.created


def test_any_other_error_is_an_outage() -> None:
    """A retry may succeed."""
    with pytest.raises(BrokerUnavailable):
        ensure(FakeAdmin(error=KafkaError(KafkaError.NOT_CONTROLLER)))


def test_a_topic_that_was_just_created_may_be_unknown_for_a_moment() -> None:
    """The broker that answers may not be the one that created it."""
    admin = FakeAdmin()
    admin.unknown_times = 2

    ensure(admin)
    assert admin.unknown_times == 0
