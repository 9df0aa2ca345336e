"""What the sink expects of the schema registry; the fake and the registry pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from streamapp.connections.registry import RegistryConnection
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.model import event
from streamapp.registry import cache
from streamapp.registry.cache import SchemaCache
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings
from streamapp.sink.ports import SchemaPort
from tests.support import foreign
from tests.support.doubles.ports import FakeSchemas


class Subject:
    """A registry, and the id of the schema that it has."""

    def __init__(self, schemas: SchemaPort, schema_id: int) -> None:
        self.schemas = schemas
        self.schema_id = schema_id

    def resolve(self, *schema_ids: int) -> Mapping[int, WriterSchema]:
        """Resolve these ids."""
        return asyncio.run(self.schemas.resolve(set(schema_ids)))


@pytest.fixture(params=["fake", "registry"])
def subject(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """Return each in turn, with V1."""
    if request.param == "fake":
        return Subject(FakeSchemas(writer_schema(event.schema(1), schema_id=7, version="v1")), 7)
    monkeypatch.setattr(cache, "UNKNOWN_ID_GRACE_SECONDS", 0.6)
    settings: Settings = request.getfixturevalue("settings")
    schema_id = foreign.register(settings, event.schema(1))
    return Subject(SchemaCache(RegistryClient(RegistryConnection.of(settings), settings.subject)), schema_id)


def test_a_known_id_gives_its_schema(subject: Subject) -> None:
    """With id and version."""
    writer = subject.resolve(subject.schema_id)[subject.schema_id]

    assert (subject.schema_id, "v1", None) == (writer.schema_id, writer.version, writer.problem)


@pytest.mark.parametrize("unknown", [-1, 0, 2_000_000_000])
def test_an_unknown_id_is_not_resolved(subject: Subject, unknown: int) -> None:
    """The known id beside it is."""
    found = subject.resolve(unknown, subject.schema_id)

    assert unknown not in found
    assert subject.schema_id in found
