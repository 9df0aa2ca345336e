"""A cluster of three brokers and three mongods, of which one dies under load: the worker goes on, nothing is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType, TopicMetadata
from pymongo.write_concern import WriteConcern

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.admin import KafkaAdmin
from streamapp.local.backend import Backend
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from tests.conftest import SettingsFactory
from tests.faults import failover
from tests.faults.environment import Environment
from tests.faults.judge import judge
from tests.support.backends import running_backend
from tests.support.until import until

BACK_WITHIN = 90

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Backend]:
    """Return three of each."""
    with running_backend(brokers=3, mongods=3) as backend:
        yield backend


def go(cluster: Backend, folder: Path, *hurts: Callable[[Environment], None], is_disturbed: bool) -> None:
    """Let an environment lose cluster members one after another, then check it."""
    with Environment(cluster, folder, seed=11, rate=100) as environment:
        environment.begin(1)
        environment.is_disturbed = is_disturbed
        for hurt in hurts:
            hurt(environment)
        environment.wait_until_sent(600)
        environment.wait_until_caught_up(BACK_WITHIN)
        assert [0] == environment.workers.stop()
        verdict = judge(environment)

    assert [] == verdict.problems, verdict
    assert verdict.events > 500


def test_broker_that_dies_is_replaced_by_the_others(cluster: Backend, tmp_path: Path) -> None:
    """One that leads a partition and coordinates the group; the same worker goes on."""
    more = [failover.leader_killed] if os.environ.get("STREAMAPP_TEST_LONG") else []
    go(cluster, tmp_path, failover.coordinator_killed, *more, is_disturbed=True)


def test_mongodb_has_another_primary(cluster: Backend, tmp_path: Path) -> None:
    """Killed, then stepping down; no record comes again, so that every dead letter comes once."""
    go(cluster, tmp_path, failover.primary_killed, failover.primary_steps_down, is_disturbed=False)


def test_topics_that_we_make_have_the_replicas_that_the_cluster_gives(
    cluster: Backend, settings_for: SettingsFactory
) -> None:
    """Three, of which two must have what is acknowledged; also of Kafka's own topics for groups."""
    settings = settings_for(cluster)
    made = KafkaAdmin(KafkaConnection.of(settings)).ensure_topics(
        topic=settings.topic, partitions=2, dead_letter_topic=settings.dead_letter_topic
    )
    asyncio.run(made)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    names = (settings.topic, settings.dead_letter_topic, "__consumer_offsets")
    topics = until(lambda: _with_all(admin.list_topics(timeout=60).topics, names), what="the topics")
    replicas = {name: {len(each.replicas) for each in topics[name].partitions.values()} for name in names}
    resource = ConfigResource(ResourceType.TOPIC, settings.topic)
    config = admin.describe_configs([resource])[resource].result(60)

    assert replicas == {name: {3} for name in names}
    assert config["min.insync.replicas"].value == "2"


def test_what_only_the_primary_has_counts_as_not_stored(cluster: Backend, settings_for: SettingsFactory) -> None:
    """It would be lost with it, and so would be an event that was left out because of it."""
    settings, before = settings_for(cluster), failover.primary(cluster)
    others = [server for server in cluster.mongods if server is not before]
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    events = mongo.database["events"]
    events.insert_one({"_id": "everywhere"})
    for server in others:
        server.pause()
    try:
        events.with_options(write_concern=WriteConcern(1)).insert_one({"_id": "on the primary"})
        known = asyncio.run(EventStore(mongo).known(["everywhere", "on the primary"]))
    finally:
        for server in others:
            server.resume()
        mongo.close()

    assert known.keys() == {"everywhere"}


def _with_all(topics: dict[str, TopicMetadata], names: Sequence[str]) -> dict[str, TopicMetadata]:
    return topics if all(name in topics for name in names) else {}
