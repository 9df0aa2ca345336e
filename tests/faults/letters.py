"""A dead-letter topic that takes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.faults.catalogue import fault
from tests.faults.environment import Scene


@fault("dead-letters-refused", "kafka", disturbs=False)
def dead_letters_refused(scene: Scene) -> None:
    """Kafka takes no dead letters, since nobody may write to their topic."""
    with forbidden(scene):
        for _ in range(10):
            scene.load.poison()
            scene.linger(scene.seconds(0.6, 30))


@contextmanager
def forbidden(scene: Scene) -> Iterator[None]:
    """Let nobody write dead letters."""
    where = (ResourceType.TOPIC, scene.settings.dead_letter_topic, ResourcePatternType.LITERAL)
    rules = [
        AclBinding(*where, "User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW),
        AclBinding(*where, "User:*", "*", AclOperation.WRITE, AclPermissionType.DENY),
    ]
    for made in scene.admin.create_acls(rules).values():
        made.result(20)
    try:
        yield
    finally:
        every = AclBindingFilter(*where, None, None, AclOperation.ANY, AclPermissionType.ANY)
        for deleted in scene.admin.delete_acls([every]).values():
            deleted.result(20)
