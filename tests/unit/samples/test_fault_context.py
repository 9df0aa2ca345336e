"""What faults need of registry and settings."""

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
    """Knows the last id that there can be, and registers whatever comes."""

    def __init__(self) -> None:
        self.registered: list[str] = []

    async def has(self, schema_id: int) -> bool:
        return schema_id == LAST_ID

    async def register(self, schema: Any, subject: str) -> int:
        self.registered.append(subject)
        return 42


def prepare(*faults: Fault, registry: FakeRegistry, **changes: Any) -> FaultContext:
    """Return the ground for these faults."""
    settings = plain_settings(topic="clicks", **changes)
    shares = dict.fromkeys(faults, 0.1)
    preparing = fault_context.prepare(
        shares, settings=settings, registry=cast("RegistryClient", registry), ours={1: V1, 2: V2}
    )
    return asyncio.run(preparing)


def test_an_unknown_id_is_one_that_the_registry_does_not_know() -> None:
    """The highest of them."""
    assert LAST_ID - 1 == prepare(Fault.UNKNOWN_ID, registry=FakeRegistry()).unknown_id


def test_a_foreign_schema_has_a_subject_of_its_own() -> None:
    """Registered there, and written with the id that it got."""
    registry = FakeRegistry()

    assert 42 == wire_format.schema_id_of(prepare(Fault.FOREIGN_SCHEMA, registry=registry).foreign)
    assert ["clicks-drill"] == registry.registered


def test_other_faults_register_nothing() -> None:
    """Nor do none."""
    registry = FakeRegistry()
    prepare(*({*Fault} - {Fault.FOREIGN_SCHEMA}), registry=registry)
    prepare(registry=registry)

    assert [] == registry.registered


def test_where_nothing_may_be_registered_a_foreign_schema_is_refused() -> None:
    """And the setting is named."""
    with pytest.raises(SettingsError, match=r"clicks-drill.*STREAMAPP_REGISTER_SCHEMAS"):
        prepare(Fault.FOREIGN_SCHEMA, registry=FakeRegistry(), register_schemas=False)
