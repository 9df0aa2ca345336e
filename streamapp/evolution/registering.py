"""Register a schema under a subject, if the level of the subject allows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from streamapp.compatibility.check import Verdict, check
from streamapp.compatibility.modes import Mode
from streamapp.errors import StreamappError
from streamapp.evolution import sources
from streamapp.evolution.sources import NamedSchema
from streamapp.registry.answers import ErrorResponse
from streamapp.registry.client import RegistryClient


class RegistrationRefused(StreamappError):  # noqa: N818 - named by what happened
    """The registry does not take the schema; the message has its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a registration would do."""

    schema: NamedSchema
    #: The versions under the subject, the latest first.
    earlier: Sequence[NamedSchema]
    #: Under the level of the subject; a subject without versions takes any schema.
    verdict: Verdict
    #: The version that is the same schema, so that there is nothing to register.
    registered: NamedSchema | None


async def plan(registry: RegistryClient, schema: NamedSchema) -> Plan:
    """Compare a schema with the versions of the registry's subject under its level.

    Raises:
        UnusableInput: a version is not a schema.
        StreamappError: the level is unknown.
        RegistryUnavailable: the registry does not answer.
    """
    numbers = sorted(await registry.versions(), reverse=True)
    earlier = [await sources.from_version(registry, number) for number in numbers]
    level = await level_of(registry) if earlier else Mode.NONE
    return Plan(
        schema=schema,
        earlier=earlier,
        verdict=check(schema.parsed, [each.parsed for each in earlier], level),
        registered=next((each for each in earlier if each.json == schema.json), None),
    )


async def level_of(registry: RegistryClient) -> Mode:
    """Return the compatibility level that holds for the registry's subject.

    Raises:
        StreamappError: the registry answers with a level that does not exist.
        RegistryUnavailable: the registry does not answer.
    """
    level = await registry.effective_level()
    if level not in [*Mode]:
        raise StreamappError(f"the level {level!r} of {registry.subject} at {registry.url} is unknown")
    return Mode(level)


async def register(registry: RegistryClient, schema: NamedSchema) -> tuple[int, str]:
    """Register a schema under the registry's subject; return its id and its version, such as `v3`.

    Raises:
        RegistrationRefused: the registry does not take it.
        RegistryUnavailable: the registry does not answer.
    """
    try:
        schema_id = await registry.register_text(json.dumps(schema.json))
    except ErrorResponse as exc:
        if exc.is_transient:
            raise
        message = f"the registry at {registry.url} refuses {schema.label} under {registry.subject}: {exc.reason}"
        raise RegistrationRefused(f"{message} ({exc.status})") from exc
    found = await registry.look_up(schema_id)
    return schema_id, found.version if found else "unregistered"
