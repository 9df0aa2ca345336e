"""The rights at Kafka and MongoDB that each program needs.

`streamapp up --secure` gives its users these rights, docs/reference/rights.md lists them, and
tests/e2e/test_rights.py runs each program with exactly these and with one less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Resource(Enum):
    """What a right is to."""

    TOPIC = "topic"
    DEAD_LETTERS = "dead-letter topic"
    GROUP = "group"
    #: Kafka's own topic of committed offsets.
    OFFSETS = "offsets topic"


class KafkaRight(NamedTuple):
    """A right to a resource of Kafka.

    Source of what each right allows, and that READ and WRITE include DESCRIBE: Kafka's documentation, "Authorization
    and ACLs".
    """

    resource: Resource
    #: A name of `AclOperation`.
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, as users call it, and what it needs.

    Args:
        name: the command.
        kafka: its rights at Kafka; empty if it does not use Kafka.
        actions: the actions on the database at MongoDB; empty if it does not use MongoDB.
    """

    name: str
    kafka: Sequence[KafkaRight] = ()
    actions: Sequence[str] = ()

    @property
    def role(self) -> str | None:
        """The built-in role of MongoDB that includes the actions."""
        if not self.actions:
            return None
        return "read" if _READ_ACTIONS.issuperset(self.actions) else "readWrite"


#: Actions of the built-in role `read` that programs use.
_READ_ACTIONS = frozenset({"find", "listCollections", "listIndexes", "dbStats"})


def _on(resource: Resource, *operations: str) -> tuple[KafkaRight, ...]:
    return tuple(KafkaRight(resource, operation) for operation in operations)


_TOPIC, _LETTERS, _GROUP = Resource.TOPIC, Resource.DEAD_LETTERS, Resource.GROUP
_WORKER = (*_on(_TOPIC, "READ", "DESCRIBE_CONFIGS"), *_on(_LETTERS, "WRITE", "DESCRIBE_CONFIGS"), *_on(_GROUP, "READ"))
_WORKER_ACTIONS = ("find", "insert", "update", "createCollection", "createIndex", "listIndexes")
_SENDER = (*_on(_TOPIC, "WRITE", "DESCRIBE_CONFIGS"), *_on(_LETTERS, "DESCRIBE", "DESCRIBE_CONFIGS"))
_READER = (*_on(_TOPIC, "READ"), *_on(_LETTERS, "READ"))
_LETTER_READER = (*_READER, *_on(_GROUP, "DESCRIBE"))
_CREATION = (*_on(_TOPIC, "CREATE"), *_on(_LETTERS, "CREATE"))

PROGRAMS = (
    Program(name="worker", kafka=_WORKER, actions=_WORKER_ACTIONS),
    Program(name="worker that sends samples", kafka=(*_WORKER, *_on(_TOPIC, "WRITE")), actions=_WORKER_ACTIONS),
    Program(name="send-sample", kafka=_SENDER),
    Program(name="dlq list", kafka=_LETTER_READER, actions=("find",)),
    Program(name="dlq show", kafka=_READER),
    Program(name="dlq replay", kafka=(*_LETTER_READER, *_on(_TOPIC, "WRITE", "DESCRIBE_CONFIGS")), actions=("find",)),
    Program(name="verify", kafka=(*_LETTER_READER, *_on(_TOPIC, "DESCRIBE_CONFIGS")), actions=("find", "listIndexes")),
    Program(name="schema list", actions=("find",)),
    Program(name="explain", kafka=_LETTER_READER, actions=("find",)),
    Program(name="schema migrate", actions=("find", "insert", "update")),
    Program(name="rewind", kafka=(*_on(_TOPIC, "READ"), *_on(_GROUP, "READ"))),
    Program(
        name="doctor",
        kafka=(
            *_on(_TOPIC, "READ", "DESCRIBE_CONFIGS"),
            *_on(_LETTERS, "DESCRIBE", "DESCRIBE_CONFIGS"),
            *_on(_GROUP, "DESCRIBE"),
            *_on(Resource.OFFSETS, "DESCRIBE"),
        ),
        actions=("find", "listCollections", "listIndexes", "dbStats"),
    ),
    Program(name="rollups check", actions=("find", "listIndexes")),
    Program(
        name="rollups rebuild",
        kafka=(*_on(_TOPIC, "DESCRIBE"), *_on(_GROUP, "DESCRIBE")),
        actions=("find", "insert", "update", "remove", "createCollection", "createIndex", "listIndexes"),
    ),
    Program(name="dashboard", actions=("find",)),
)


def of_all() -> Sequence[KafkaRight]:
    """Return the rights of one user at Kafka who runs all programs, and may create the topics."""
    return _unique(right for program in PROGRAMS for right in (*program.kafka, *_CREATION))


def _unique(rights: Iterable[KafkaRight]) -> Sequence[KafkaRight]:
    return tuple(dict.fromkeys(rights))
