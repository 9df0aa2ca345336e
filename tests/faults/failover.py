"""Cluster members that die while the others continue; not in the catalogue, whose servers are single."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from confluent_kafka.admin import TopicMetadata
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from streamapp.local.backend import Backend
from streamapp.local.process import Server
from tests.faults.environment import Environment
from tests.support.offsets import committed


def leader_killed(environment: Environment) -> None:
    """kill -9 of the broker that leads a partition; it restarts and catches up."""
    _broker_killed(environment, _topic(environment).partitions[0].leader)


def coordinator_killed(environment: Environment) -> None:
    """kill -9 of the broker that coordinates the group; it restarts and catches up."""
    described = environment.admin.describe_consumer_groups([environment.settings.app_id])
    _broker_killed(environment, described[environment.settings.app_id].result(60).coordinator.id)


def primary_killed(environment: Environment) -> None:
    """kill -9 of MongoDB's primary; it restarts as a secondary."""
    before = primary(environment.backend)
    before.kill()
    environment.wait_for(lambda: primary(environment.backend) is not before, what="another primary")
    wait_for_commits(environment)
    before.start()


def primary_steps_down(environment: Environment) -> None:
    """`replSetStepDown`: another member becomes the primary."""
    before = primary(environment.backend)
    with suppress(PyMongoError), MongoClient[Any](environment.backend.addresses.mongo_uri) as client:
        client.admin.command({"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 5})
    environment.wait_for(lambda: primary(environment.backend) is not before, what="another primary")
    wait_for_commits(environment)


def wait_for_commits(environment: Environment) -> None:
    """Wait until the group commits in each partition."""
    before = committed(environment.settings)

    def has_moved() -> bool:
        now = committed(environment.settings)
        return all(now[partition] > offset for partition, offset in before.items())

    environment.wait_for(has_moved, what="commits of all partitions")


def primary(cluster: Backend) -> Server:
    """Return MongoDB's primary as soon as there is one."""
    with MongoClient[Any](cluster.addresses.mongo_uri) as client:
        client.admin.command("ping")  # the driver finds it
        _, port = client.primary or ("", 0)
    return cluster.mongods[cluster.ports.mongods.index(port)]


def _broker_killed(environment: Environment, number: int) -> None:
    broker = environment.backend.kafkas[number - 1]
    broker.kill()
    environment.wait_for(lambda: all(led != number for led in _leaders(environment)), what="other leaders")
    wait_for_commits(environment)
    broker.start()
    environment.wait_for(lambda: _is_whole(environment), what="all replicas in sync")


def _topic(environment: Environment) -> TopicMetadata:
    return environment.admin.list_topics(environment.settings.topic, timeout=5).topics[environment.settings.topic]


def _leaders(environment: Environment) -> list[int]:
    return [partition.leader for partition in _topic(environment).partitions.values()]


def _is_whole(environment: Environment) -> bool:
    return all(len(each.isrs) == len(environment.backend.kafkas) for each in _topic(environment).partitions.values())
