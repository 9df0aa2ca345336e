"""Members of a cluster that die while the others go on; not in the catalogue, whose servers are single."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from confluent_kafka.admin import TopicMetadata
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from streamapp.local.backend import Backend
from streamapp.local.process import Server
from tests.faults.environment import Scene
from tests.support.offsets import committed


def leader_killed(scene: Scene) -> None:
    """kill -9 of the broker that leads a partition, which comes back and catches up."""
    _broker_killed(scene, _topic(scene).partitions[0].leader)


def coordinator_killed(scene: Scene) -> None:
    """kill -9 of the broker that coordinates the group, likewise."""
    described = scene.admin.describe_consumer_groups([scene.settings.app_id])
    _broker_killed(scene, described[scene.settings.app_id].result(10).coordinator.id)


def primary_killed(scene: Scene) -> None:
    """kill -9 of MongoDB's primary, which comes back as a secondary."""
    before = primary(scene.backend)
    before.kill()
    scene.wait_for(lambda: primary(scene.backend) is not before, what="another primary")
    goes_on(scene)
    before.start()


def primary_steps_down(scene: Scene) -> None:
    """`replSetStepDown`: another member becomes the primary."""
    before = primary(scene.backend)
    with suppress(PyMongoError), MongoClient[Any](scene.backend.addresses.mongo_uri) as client:
        client.admin.command({"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 5})
    scene.wait_for(lambda: primary(scene.backend) is not before, what="another primary")
    goes_on(scene)


def goes_on(scene: Scene) -> None:
    """Wait until each partition has got somewhere from here."""
    before = committed(scene.settings)

    def has_moved() -> bool:
        now = committed(scene.settings)
        return all(now[partition] > offset for partition, offset in before.items())

    scene.wait_for(has_moved, what="commits of all partitions")


def primary(cluster: Backend) -> Server:
    """Return MongoDB's primary, as soon as there is one."""
    with MongoClient[Any](cluster.addresses.mongo_uri) as client:
        client.admin.command("ping")  # finds it
        _, port = client.primary or ("", 0)
    return cluster.mongods[cluster.ports.mongods.index(port)]


def _broker_killed(scene: Scene, number: int) -> None:
    broker = scene.backend.kafkas[number - 1]
    broker.kill()
    scene.wait_for(lambda: all(led != number for led in _leaders(scene)), what="other leaders")
    goes_on(scene)
    broker.start()
    scene.wait_for(lambda: _is_whole(scene), what="all replicas in sync")


def _topic(scene: Scene) -> TopicMetadata:
    return scene.admin.list_topics(scene.settings.topic, timeout=5).topics[scene.settings.topic]


def _leaders(scene: Scene) -> list[int]:
    return [partition.leader for partition in _topic(scene).partitions.values()]


def _is_whole(scene: Scene) -> bool:
    return all(len(each.isrs) == len(scene.backend.kafkas) for each in _topic(scene).partitions.values())
