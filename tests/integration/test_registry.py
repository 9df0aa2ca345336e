"""Our schemas in a real registry, and what else is found there."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from streamapp.decode import wire_format
from streamapp.errors import RegistryUnavailable, SettingsError
from streamapp.local.backend import Backend
from streamapp.model import event
from streamapp.registry import client
from streamapp.registry.client import Registry
from streamapp.retry import NoRetry
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
    """Prepare; return id and version of ours."""
    view = Registry(settings.schema_registry_url, settings.subject, outages=NoRetry("registry"))
    ours = asyncio.run(view.prepare(**{"register": True, "compatibility": "backward"} | options))
    return {version: (writer.schema_id, writer.version) for version, writer in ours.items()}


def versions(settings: Settings) -> list[int]:
    """Return the versions under the subject."""
    return httpx.get(f"{settings.schema_registry_url}/subjects/{settings.subject}/versions").json()


def level(settings: Settings) -> str:
    """Return the subject's compatibility level."""
    return httpx.get(f"{settings.schema_registry_url}/config/{settings.subject}").json()["compatibilityLevel"]


def label_of(settings: Settings, schema_id: int) -> str:
    """Return how records with this id are labelled."""
    view = Registry(settings.schema_registry_url, settings.subject)
    return asyncio.run(view.resolve({schema_id}))[schema_id].version


def test_both_schemas_are_registered_once(settings: Settings) -> None:
    """V1 as version 1, V2 as version 2, and BACKWARD."""
    first = prepare(settings)

    assert first == prepare(settings)
    assert {1: "v1", 2: "v2"} == {version: label for version, (_, label) in first.items()}
    assert [1, 2] == versions(settings)
    assert level(settings) == "BACKWARD"


def test_another_spelling_of_ours_is_ours(settings: Settings) -> None:
    """A version with the same Parsing Canonical Form is used; nothing is registered twice."""
    spelled = json.loads(json.dumps(event.schema(2)))
    spelled["doc"] = "Someone else registered it first."
    schema_id = foreign.register(settings, spelled)

    assert prepare(settings, compatibility="keep")[2] == (schema_id, "v1")
    assert [1, 2] == versions(settings)


def test_without_leave_to_register_a_missing_schema_is_an_error(settings: Settings) -> None:
    """Which names subject and setting, and registers nothing."""
    with pytest.raises(SettingsError, match="STREAMAPP_REGISTER_SCHEMAS"):
        prepare(settings, register=False)


def test_without_leave_to_register_what_is_there_is_used(settings: Settings) -> None:
    """Checked only."""
    registered = prepare(settings)

    assert registered == prepare(settings, register=False)


def test_a_level_that_someone_chose_is_kept(settings: Settings) -> None:
    """Only a missing one, or NONE, becomes BACKWARD."""
    foreign.register(settings, event.schema(1))
    httpx.put(f"{settings.schema_registry_url}/config/{settings.subject}", json={"compatibility": "FULL"})

    prepare(settings)

    assert level(settings) == "FULL"


def test_none_is_kept_on_request(settings: Settings) -> None:
    """STREAMAPP_COMPATIBILITY=keep."""
    prepare(settings, compatibility="keep")

    assert level(settings) == "NONE"


def test_a_refused_schema_is_told(settings: Settings) -> None:
    """The subject holds something that ours cannot follow."""
    foreign.register(settings, {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "double"}]})
    httpx.put(f"{settings.schema_registry_url}/config/{settings.subject}", json={"compatibility": "FULL"})

    with pytest.raises(SettingsError, match="refuses user_event_v1"):
        prepare(settings)


def test_a_version_that_comes_later_is_labelled(settings: Settings) -> None:
    """By its version under the subject."""
    prepare(settings)

    assert label_of(settings, foreign.register(settings, V3)) == "v3"


def test_a_schema_of_another_subject_is_unregistered(settings: Settings) -> None:
    """Known to the registry, not to the subject."""
    prepare(settings)

    assert label_of(settings, foreign.register(settings, V3, f"{settings.topic}-other")) == "unregistered"


def test_a_schema_that_refers_to_another_subject_is_read(settings: Settings) -> None:
    """Its names are looked up under the subjects that it names."""
    metadata = {"type": "record", "name": "Metadata", "namespace": "shared", "fields": METADATA_FIELDS}
    foreign.register(settings, metadata, f"{settings.topic}-metadata")
    fields = [field for field in event.schema(1)["fields"] if field["name"] != "metadata"]
    refers = {**event.schema(1), "fields": [*fields, {"name": "metadata", "type": "shared.Metadata"}]}
    reference = {"name": "shared.Metadata", "subject": f"{settings.topic}-metadata", "version": 1}
    schema_id = foreign.register(settings, refers, references=[reference])
    view = Registry(settings.schema_registry_url, settings.subject)

    writer = asyncio.run(view.resolve({schema_id}))[schema_id]

    assert writer.problem is None
    whole = {**event.schema(1), "fields": [*fields, {"name": "metadata", "type": metadata}]}
    assert an_event() == wire_format.read(foreign.wire(an_event(), whole, schema_id), writer)


def test_an_id_that_appears_within_the_grace_is_no_poison(settings: Settings) -> None:
    """A producer may be faster than its registration."""
    view = Registry(settings.schema_registry_url, settings.subject)

    async def scenario() -> str:
        probe = await asyncio.to_thread(foreign.register, settings, with_field(f"one_{settings.topic}"))
        asked = asyncio.create_task(view.resolve({probe + 1}))
        await asyncio.sleep(0)
        schema_id = await asyncio.to_thread(foreign.register, settings, with_field(f"two_{settings.topic}"))
        assert schema_id == probe + 1
        return (await asked)[schema_id].version

    assert asyncio.run(scenario()) == "v2"


def test_an_unknown_id_is_asked_for_once_in_a_while(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time nobody waits for the answer."""
    monkeypatch.setattr(client, "ASK_FOR", 0.5)
    view = Registry(settings.schema_registry_url, settings.subject)

    async def seconds() -> float:
        began = time.monotonic()
        await view.resolve({1_900_000_000})
        return time.monotonic() - began

    async def scenario() -> tuple[float, float]:
        return await seconds(), await seconds()

    first, second = asyncio.run(scenario())
    assert first >= 0.5
    assert second < 0.1


def test_a_wrong_path_is_no_unknown_id(settings: Settings) -> None:
    """A 404 of something that is no registry must not make poison of every record."""
    view = Registry(f"{settings.schema_registry_url}/nowhere", settings.subject, outages=NoRetry("registry"))

    with pytest.raises(RegistryUnavailable, match="answers 404"):
        asyncio.run(view.resolve({1}))


def test_an_outage_is_waited_out(private_backend: Backend, settings_for: SettingsFactory) -> None:
    """Known ids need no registry; unknown ones wait for it."""
    settings = settings_for(private_backend)
    known, later = foreign.register(settings, event.schema(1)), foreign.register(settings, event.schema(2))
    view = Registry(settings.schema_registry_url, settings.subject)

    async def scenario() -> str:
        await view.resolve({known})
        private_backend.registry.stop()
        assert known in await view.resolve({known})
        waiting = asyncio.create_task(view.resolve({later}))
        await asyncio.to_thread(private_backend.registry.start)
        return (await waiting)[later].version

    assert asyncio.run(scenario()) == "v2"
