"""A dead-letter topic that refuses records."""

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
from tests.faults.environment import Environment


@fault("dead-letters-refused", "kafka", disturbs=False)
def dead_letters_refused(environment: Environment) -> None:
    """Kafka refuses dead letters, since nobody may write to their topic."""
    with forbidden(environment):
        for _ in range(10):
            environment.load.poison()
            environment.let_time_pass(environment.seconds(0.6, 30))


@contextmanager
def forbidden(environment: Environment) -> Iterator[None]:
    """Forbid all writes to the dead-letter topic."""
    where = (ResourceType.TOPIC, environment.settings.dead_letter_topic, ResourcePatternType.LITERAL)
    rules = [
        AclBinding(*where, "User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW),
        AclBinding(*where, "User:*", "*", AclOperation.WRITE, AclPermissionType.DENY),
    ]
    for made in environment.admin.create_acls(rules).values():
        made.result(60)
    try:
        yield
    finally:
        every = AclBindingFilter(*where, None, None, AclOperation.ANY, AclPermissionType.ANY)
        for deleted in environment.admin.delete_acls([every]).values():
            deleted.result(60)
