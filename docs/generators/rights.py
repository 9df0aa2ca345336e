"""The rights that each program needs, from the table by which `streamapp up --secure` grants them."""

from __future__ import annotations

from generators.markdown import table
from streamapp.local.rights import PROGRAMS, Program, Resource

_NAMES = {
    Resource.TOPIC: "`user_events`",
    Resource.DEAD_LETTERS: "`user_events.dlq`",
    Resource.GROUP: "group `streamapp`",
    Resource.OFFSETS: "`__consumer_offsets`",
}


def kafka() -> str:
    """Render the rights at Kafka."""
    rows = [[_name(program), *(_operations(program, resource) for resource in Resource)] for program in PROGRAMS]
    create = ["each program that creates the topics", "also Create", "also Create", "", ""]
    return table(["", *_NAMES.values()], [*rows, create])


def mongodb() -> str:
    """Render the roles at MongoDB, and the actions."""
    rows = [
        [_name(program), f"`{program.role}`" if program.role else "", ", ".join(program.actions)]
        for program in PROGRAMS
    ]
    return table(["", "role on `streaming_db`", "actions that are used"], rows)


def _name(program: Program) -> str:
    command, separator, kind = program.name.partition(" that ")
    return f"`{command}`{separator}{kind}"


def _operations(program: Program, resource: Resource) -> str:
    """Write the operations as the reference of Kafka does: DescribeConfigs."""
    found = (right.operation for right in program.kafka if right.resource is resource)
    return ", ".join(operation.title().replace("_", "") for operation in found)
