"""Registration, look-ups and outages with a real registry."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from streamapp.connections.registry import RegistryConnection
from streamapp.decode import wire_format
from streamapp.errors import RegistryUnavailable, SettingsError
from streamapp.local.backend import Backend
from streamapp.model import event
from streamapp.registry import cache
from streamapp.registry.cache import SchemaCache
from streamapp.registry.client import RegistryClient
from streamapp.registry.registration import SchemaRegistration
from streamapp.retry import NoRetry, OutageRetrier
from streamapp.settings import Settings
from tests.conftest import SettingsFactory
from tests.support import foreign
from tests.support.factories import an_event


def with_field(name: str) -> Any:
    """Return V2 with one more field."""
    field = {"name": name.replace("-", "_"), "type": ["null", "string"], "default": None}
    return {**event.schema(2), "fields": [*event.schema(2)["fields"], field]}


V3 = with_field("plan")
METADATA_FIELDS = [{"name": "device", "type": "string"}, {"name": "location", "type": "string"}]


def prepare(settings: Settings, **options: Any) -> dict[int, tuple[int, str]]:
    """Register both schemas; return id and version label of each."""
    client = RegistryClient(RegistryConnection.of(settings), settings.subject)
    registration = SchemaRegistration(client, outages=NoRetry("registry"))
    registered = asyncio.run(registration.prepare(**{"register": True, "compatibility": "backward"} | options))
    return {version: (writer.schema_id, writer.version) for version, writer in registered.items()}


def cache_of(settings: Settings, url: str | None = None, outages: OutageRetrier | None = None) -> SchemaCache:
    """Return an empty cache for the subject."""
    connection = RegistryConnection(url=url or settings.schema_registry_url)
    return SchemaCache(RegistryClient(connection, settings.subject), outages=outages)


def versions(settings: Settings) -> list[int]:
    """Return the versions under the subject."""
    return httpx.get(f"{settings.schema_registry_url}/subjects/{settings.subject}/versions").json()


def level(settings: Settings) -> str:
    """Return the subject's compatibility level."""
    return httpx.get(f"{settings.schema_registry_url}/config/{settings.subject}").json()["compatibilityLevel"]


def label_of(settings: Settings, schema_id: int) -> str:
    """Return the version label of records with this id."""
    return asyncio.run(cache_of(settings).resolve({schema_id}))[schema_id].version


def test_both_schemas_are_registered_once(settings: Settings) -> None:
    """V1 becomes version 1, V2 becomes version 2, and the level BACKWARD."""
    first = prepare(settings)

    assert first == prepare(settings)
    assert {1: "v1", 2: "v2"} == {version: label for version, (_, label) in first.items()}
    assert [1, 2] == versions(settings)
    assert level(settings) == "BACKWARD"


def test_a_schema_with_the_same_canonical_form_is_used(settings: Settings) -> None:
    """Another client has registered V2 with a `doc`: the schema is not registered a second time."""
    spelled = json.loads(json.dumps(event.schema(2)))
    spelled["doc"] = "Someone else registered it first."
    schema_id = foreign.register(settings, spelled)

    assert prepare(settings, compatibility="keep")[2] == (schema_id, "v1")
    assert [1, 2] == versions(settings)


def test_a_missing_schema_is_an_error_if_registration_is_off(settings: Settings) -> None:
    """The error names the setting, and nothing is registered."""
    with pytest.raises(SettingsError, match="STREAMAPP_REGISTER_SCHEMAS"):
        prepare(settings, register=False)
    assert httpx.get(f"{settings.schema_registry_url}/subjects/{settings.subject}/versions").status_code == 404


def test_registered_schemas_are_used_if_registration_is_off(settings: Settings) -> None:
    """They are read, not registered."""
    registered = prepare(settings)

    assert registered == prepare(settings, register=False)


def test_an_existing_level_is_kept(settings: Settings) -> None:
    """Only a missing level, or NONE, becomes BACKWARD."""
    foreign.register(settings, event.schema(1))
    httpx.put(f"{settings.schema_registry_url}/config/{settings.subject}", json={"compatibility": "FULL"})

    prepare(settings)

    assert level(settings) == "FULL"


def test_keep_leaves_the_level_none(settings: Settings) -> None:
    """STREAMAPP_COMPATIBILITY=keep."""
    prepare(settings, compatibility="keep")

    assert level(settings) == "NONE"


def test_a_subject_of_others_gets_no_schema(settings: Settings) -> None:
    """Neither a version nor a level."""
    foreign.register(settings, {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "double"}]})

    with pytest.raises(SettingsError, match="has only schemas of other producers"):
        prepare(settings)
    assert [1] == versions(settings)
    assert level(settings) == "NONE"


def test_a_later_version_is_labelled(settings: Settings) -> None:
    """Its label is its version under the subject."""
    prepare(settings)

    assert label_of(settings, foreign.register(settings, V3)) == "v3"


def test_a_schema_of_another_subject_is_unregistered(settings: Settings) -> None:
    """The registry has it, the subject does not."""
    prepare(settings)

    assert label_of(settings, foreign.register(settings, V3, f"{settings.topic}-other")) == "unregistered"


def test_a_schema_with_a_reference_is_read(settings: Settings) -> None:
    """The referenced schema is fetched from its subject."""
    metadata = {"type": "record", "name": "Metadata", "namespace": "shared", "fields": METADATA_FIELDS}
    foreign.register(settings, metadata, f"{settings.topic}-metadata")
    fields = [field for field in event.schema(1)["fields"] if field["name"] != "metadata"]
    refers = {**event.schema(1), "fields": [*fields, {"name": "metadata", "type": "shared.Metadata"}]}
    reference = {"name": "shared.Metadata", "subject": f"{settings.topic}-metadata", "version": 1}
    schema_id = foreign.register(settings, refers, references=[reference])
    schemas = cache_of(settings)

    writer = asyncio.run(schemas.resolve({schema_id}))[schema_id]

    assert writer.problem is None
    whole = {**event.schema(1), "fields": [*fields, {"name": "metadata", "type": metadata}]}
    assert an_event() == wire_format.read(foreign.wire(an_event(), whole, schema_id), writer)


def test_an_id_that_is_registered_during_the_grace_period_is_found(settings: Settings) -> None:
    """A producer may send a record before its schema is registered."""
    schemas = cache_of(settings)

    async def scenario() -> str:
        probe = await asyncio.to_thread(foreign.register, settings, with_field(f"one_{settings.topic}"))
        asked = asyncio.create_task(schemas.resolve({probe + 1}))
        await asyncio.sleep(0)
        schema_id = await asyncio.to_thread(foreign.register, settings, with_field(f"two_{settings.topic}"))
        assert schema_id == probe + 1
        return (await asked)[schema_id].version

    assert asyncio.run(scenario()) == "v2"


def test_an_unknown_id_is_cached(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first batch waits for the grace period."""
    monkeypatch.setattr(cache, "UNKNOWN_ID_GRACE_SECONDS", 0.5)
    schemas = cache_of(settings)

    async def seconds() -> float:
        began = time.monotonic()
        await schemas.resolve({1_900_000_000})
        return time.monotonic() - began

    async def scenario() -> tuple[float, float]:
        return await seconds(), await seconds()

    first, second = asyncio.run(scenario())
    assert first >= 0.5
    assert second < 0.5


def test_a_wrong_path_counts_as_unreachable(settings: Settings) -> None:
    """If its 404 counted as "unknown id", every record would become a dead letter."""
    schemas = cache_of(settings, f"{settings.schema_registry_url}/nowhere", NoRetry("registry"))

    with pytest.raises(RegistryUnavailable, match="answers with status 404"):
        asyncio.run(schemas.resolve({1}))


def test_an_outage_is_waited_out(private_backend: Backend, settings_for: SettingsFactory) -> None:
    """Known ids need no request; other ids wait until the registry answers again."""
    settings = settings_for(private_backend)
    known, later = foreign.register(settings, event.schema(1)), foreign.register(settings, event.schema(2))
    schemas = cache_of(settings)

    async def scenario() -> str:
        await schemas.resolve({known})
        private_backend.registry.stop()
        assert known in await schemas.resolve({known})
        waiting = asyncio.create_task(schemas.resolve({later}))
        await asyncio.to_thread(private_backend.registry.start)
        return (await waiting)[later].version

    assert asyncio.run(scenario()) == "v2"
