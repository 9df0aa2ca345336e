"""What the client asks and concludes when a registry has lost schemas, or answers in its own way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from streamapp.connections.registry import RegistryConnection
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import RegistryUnavailable
from streamapp.model import event
from streamapp.registry.client import RegistryClient
from tests.support.registry_stub import SUBJECT, client_answered_by

METADATA_FIELDS = [{"name": "device", "type": "string"}, {"name": "location", "type": "string"}]


class Registry:
    """Answers by path: a body with status 200, a pair of status and body, or the 404 of Confluent's registry."""

    def __init__(self, **paths: Any) -> None:
        self.answers: dict[str, Any] = paths
        self.requested: list[str] = []

    def __call__(self, url: str, params: dict[str, str] | None = None, **_: Any) -> httpx.Response:
        path = url.removeprefix("http://registry/")
        self.requested.append(path)
        if params and f"{path}?deleted" in self.answers:
            path = f"{path}?deleted"
        answer = self.answers.get(path, (404, {"error_code": 40403}))
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, json=body)


def schema_body(schema: Any, *references: tuple[str, int]) -> dict[str, Any]:
    """Return what a registry answers for a schema."""
    listed = [{"name": name, "subject": name, "version": version} for name, version in references]
    return {"schema": json.dumps(schema), "references": listed}


def look_up(registry: Registry, schema_id: int = 9) -> WriterSchema | None:
    """Look up one id."""
    return asyncio.run(client_answered_by(registry).look_up(schema_id))


def found(registry: Registry) -> WriterSchema:
    """Look up id 9, which the registry has."""
    writer = look_up(registry)
    assert writer is not None
    return writer


def of_v1(**more: Any) -> Registry:
    """Return a registry that has V1 under id 9, as version 4 of the subject."""
    registry = Registry()
    registry.answers["schemas/ids/9"] = {**schema_body(event.schema(1)), **more}
    registry.answers["schemas/ids/9/versions?deleted"] = [{"subject": SUBJECT, "version": 4}]
    return registry


def test_a_soft_deleted_version_keeps_its_label() -> None:
    """Records of a deleted version say the same as those that were stored before."""
    registry = of_v1()
    registry.answers["schemas/ids/9/versions"] = []

    assert found(registry).version == "v4"


@pytest.mark.parametrize("status", [400, 422])
def test_a_registry_that_does_not_know_deleted_versions_is_asked_without(status: int) -> None:
    """It refuses the parameter."""
    registry = of_v1()
    registry.answers["schemas/ids/9/versions"] = [{"subject": SUBJECT, "version": 4}]
    registry.answers["schemas/ids/9/versions?deleted"] = status, {"error_code": status, "message": "unknown parameter"}

    assert found(registry).version == "v4"


def test_a_schema_type_of_null_is_avro() -> None:
    """Some registries list every field."""
    writer = found(of_v1(schemaType=None))

    assert (writer.problem, writer.version) == (None, "v4")


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": 40403},
        {"error_code": 40401, "message": "Subject not found"},
        {"error_code": 40402},
        {"error_code": 404, "message": "No content with id 9 was found", "name": "ContentNotFoundException"},
        {"error": {"code": 404, "status": "NOT_FOUND"}},
    ],
    ids=str,
)
def test_a_registry_that_has_not_an_id_says_so_in_many_ways(body: Any) -> None:
    """Its address is right, since it lists subjects: its record is a dead letter and stops no worker."""
    registry = Registry(subjects=[SUBJECT])
    registry.answers["schemas/ids/9"] = 404, body

    assert look_up(registry) is None


def test_a_404_without_a_registry_behind_it_is_an_outage() -> None:
    """A wrong path also answers 404 with JSON; if it counted as "unknown id", every record would be a dead letter."""
    registry = Registry(subjects=(404, {"error_code": 404}))
    registry.answers["schemas/ids/9"] = 404, {"error_code": 404}

    with pytest.raises(RegistryUnavailable, match="answers with status 404"):
        look_up(registry)


def diamonds(depth: int) -> Registry:
    """Return a registry whose schema 9 refers to two schemas, each of which refers to the next two, and so on."""
    registry = Registry()
    for level in range(depth):
        below = [(f"{side}{level + 1}", 1) for side in "ab"] if level + 1 < depth else []
        for side in "ab":
            fields = [{"name": name, "type": f"x.{name}"} for name, _ in below] or [{"name": "x", "type": "int"}]
            body = schema_body({"type": "record", "name": f"x.{side}{level}", "fields": fields}, *below)
            registry.answers[f"subjects/{side}{level}/versions/1"] = body
    schema = event.schema(1)
    more = [{"name": side, "type": f"x.{side}0"} for side in "ab"]
    registry.answers["schemas/ids/9"] = schema_body(
        {**schema, "fields": [*schema["fields"], *more]}, ("a0", 1), ("b0", 1)
    )
    return registry


def test_each_referenced_schema_is_asked_for_once() -> None:
    """Several schemas may refer to the same one: ten levels of two take 20 requests, not 2,046."""
    registry = diamonds(10)

    assert found(registry).problem is None
    assert {1} == {*Counter(registry.requested).values()}
    assert len(registry.requested) == 22


def referring(referred: Any = None, **paths: Any) -> Registry:
    """Return a registry whose schema 9 refers to version 1 of `com/Metadata`."""
    registry = Registry(**paths)
    fields = [field for field in event.schema(1)["fields"] if field["name"] != "metadata"]
    schema = {**event.schema(1), "fields": [*fields, {"name": "metadata", "type": "com.Metadata"}]}
    registry.answers["schemas/ids/9"] = schema_body(schema, ("com/Metadata", 1))
    if referred is not None:
        registry.answers["subjects/com%2FMetadata/versions/1"] = referred
    return registry


METADATA = {"type": "record", "name": "com.Metadata", "fields": METADATA_FIELDS}


def test_a_subject_with_a_slash_is_one_part_of_the_path() -> None:
    """Confluent's names for references may have one; a subject of `../..` must not leave the registry's API."""
    assert found(referring(schema_body(METADATA))).problem is None


def test_a_deleted_reference_is_still_read() -> None:
    """A registry may delete a version that others refer to, and return it if it is asked for deleted ones."""
    registry = referring()
    registry.answers["subjects/com%2FMetadata/versions/1?deleted"] = schema_body(METADATA)

    assert found(registry).problem is None


@pytest.mark.parametrize("code", [(404, 40401), (404, 40402), (422, 42202)])
def test_a_lost_reference_is_a_problem_of_the_schema(code: tuple[int, int]) -> None:
    """Its records are dead letters; a wait for the registry would block the partition for ever."""
    registry = referring((code[0], {"error_code": code[1]}))

    assert found(registry).is_incomplete
    assert "version 1 of com/Metadata, which the registry does not have" in (found(registry).problem or "")


def test_schemas_that_refer_to_each_other_end() -> None:
    """Registries do not check what they hold."""
    registry = referring(schema_body(METADATA, ("com/Metadata", 1)))

    assert found(registry).problem is None
    assert len(registry.requested) == 3


def test_very_many_references_are_a_problem_of_the_schema() -> None:
    """A chain without end would take a request for each link."""

    class Chain(Registry):
        def __call__(self, url: str, params: dict[str, str] | None = None, **_: Any) -> httpx.Response:
            if "subjects/" in url:
                self.requested.append(url)
                return httpx.Response(200, json=schema_body(METADATA, ("com/Metadata", len(self.requested))))
            return super().__call__(url, params)

    registry = Chain(**referring().answers)

    assert "more than" in (found(registry).problem or "")
    assert len(registry.requested) < 1_100


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "no json"},
        {"schema": None},
        {"schema": "[" * 100_000},
        {"schema": "1" * 10_000},
        {"schemaType": ["x"]},
        {"references": [{"name": "x"}]},
        {"references": [7]},
        {"references": 7},
    ],
    ids=lambda change: str(change)[:40],
)
def test_an_odd_schema_is_a_problem_of_the_schema(change: dict[str, Any]) -> None:
    """No answer about one schema may look like an outage, or end the worker: its records are dead letters."""
    registry = of_v1(**change)

    assert found(registry).problem


def test_a_lookup_in_a_registry_sends_no_credentials() -> None:
    """There are none: an empty user and password would make proxies and logs believe that there are."""
    client = RegistryClient(RegistryConnection(url="http://registry"), SUBJECT)

    with httpx.Client(**{**client._client.client_kwargs, "transport": httpx.MockTransport(echo)}) as sender:
        assert "authorization" not in sender.get("http://registry/subjects").json()


def echo(request: httpx.Request) -> httpx.Response:
    """Answer with the headers of the request."""
    return httpx.Response(200, json={**request.headers})
