"""What faults need from registry and settings."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from streamapp.decode import wire_format
from streamapp.errors import SettingsError
from streamapp.registry.client import RegistryClient
from streamapp.samples import fault_context
from streamapp.samples.faults import Fault, FaultContext
from tests.support.backends import plain_settings
from tests.support.factories import V1, V2

LAST_ID = 2**31 - 1


class FakeRegistry:
    """Has a schema with the largest possible id, and registers every schema."""

    def __init__(self) -> None:
        self.registered: list[str] = []

    async def has(self, schema_id: int) -> bool:
        return schema_id == LAST_ID

    async def register(self, schema: Any, subject: str) -> int:
        self.registered.append(subject)
        return 42


def prepare(*faults: Fault, registry: FakeRegistry, **changes: Any) -> FaultContext:
    """Return the context of these faults."""
    settings = plain_settings(topic="clicks", **changes)
    shares = dict.fromkeys(faults, 0.1)
    preparing = fault_context.prepare(
        shares, settings=settings, registry=cast("RegistryClient", registry), ours={1: V1, 2: V2}
    )
    return asyncio.run(preparing)


def test_an_unknown_id_is_one_that_the_registry_does_not_have() -> None:
    """The largest such id."""
    assert LAST_ID - 1 == prepare(Fault.UNKNOWN_ID, registry=FakeRegistry()).unknown_id


def test_a_foreign_schema_has_a_subject_of_its_own() -> None:
    """The record is written with the id that the registry gives."""
    registry = FakeRegistry()

    assert 42 == wire_format.schema_id_of(prepare(Fault.FOREIGN_SCHEMA, registry=registry).foreign)
    assert ["clicks-drill"] == registry.registered


def test_other_faults_register_nothing() -> None:
    """The same holds without faults."""
    registry = FakeRegistry()
    prepare(*({*Fault} - {Fault.FOREIGN_SCHEMA}), registry=registry)
    prepare(registry=registry)

    assert [] == registry.registered


def test_a_foreign_schema_is_refused_if_registration_is_forbidden() -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=r"clicks-drill.*STREAMAPP_REGISTER_SCHEMAS"):
        prepare(Fault.FOREIGN_SCHEMA, registry=FakeRegistry(), register_schemas=False)
