"""Requests to the registry, and which errors count as an unreachable registry."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
import threading
from typing import Any

import httpx
import pytest
from schema_registry.client import errors

from streamapp.connections.registry import RegistryConnection
from streamapp.errors import RegistryUnavailable
from streamapp.model import event
from streamapp.registry.answers import NoConfluentApi, translated
from streamapp.registry.client import RegisteredVersion, RegistryClient
from tests.support.registry_stub import SUBJECT, Confluent, client_answered_by, without_any_id


def answers_v1_with(versions: list[tuple[str, int]], **more: Any) -> RegistryClient:
    """Return a client of a registry that has V1 under every id, as these versions of these subjects."""

    def request(url: str, **_: Any) -> httpx.Response:
        if url.endswith("versions"):
            return httpx.Response(200, json=[{"subject": subject, "version": number} for subject, number in versions])
        return httpx.Response(200, json={"schema": json.dumps(event.schema(1)), **more})

    return client_answered_by(request)


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them for each request takes some 40 ms of CPU, and /readyz sends one every 1.5 s."""
    reads = list[Any]()
    load = ssl.SSLContext.load_verify_locations
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda *args, **values: (reads.append(args), load(*args, **values))
    )
    client = RegistryClient(RegistryConnection(url="http://127.0.0.1:1"), SUBJECT)

    for _ in range(3):
        with pytest.raises(RegistryUnavailable):
            asyncio.run(client.ping())

    assert len(reads) == 1


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404, text="<html>not found</html>"),
        httpx.Response(404, json={"error_code": 404}),
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"something": "else"}),
        httpx.Response(401, json={}),
        httpx.Response(500, json={}),
        httpx.Response(503, text=""),
    ],
    ids=lambda response: f"{response.status_code} {response.text[:12]}",
)
def test_an_answer_of_another_server_counts_as_unreachable(response: httpx.Response) -> None:
    """If it counted as "unknown id", every record would become a dead letter."""
    with pytest.raises(RegistryUnavailable, match="http://registry"):
        asyncio.run(client_answered_by(lambda *_, **__: response).look_up(5))


@pytest.mark.parametrize("body", [b"<html>not found</html>", b'{"status": 404}', b'{"error_code": 404}', b"[]"])
def test_a_url_without_the_confluent_api_is_named_with_the_setting(body: bytes) -> None:
    """A 404 without one of the registry's own error codes comes from another server, or from another path."""
    with pytest.raises(NoConfluentApi, match=r"STREAMAPP_SCHEMA_REGISTRY_URL=.*http://registry/apis/ccompat/v7"):
        asyncio.run(client_answered_by(lambda *_, **__: httpx.Response(404, content=body)).look_up(5))


def test_a_registry_without_error_codes_can_lack_the_subject() -> None:
    """Its list of subjects shows that it is a registry."""

    def request(url: str, **_: Any) -> httpx.Response:
        return httpx.Response(200, json=[]) if url.endswith("/subjects") else httpx.Response(404)

    assert asyncio.run(client_answered_by(request).find_version(event.schema(1))) is None


def test_an_unknown_id_has_no_schema() -> None:
    """The error code distinguishes this 404 from that of another server."""
    assert asyncio.run(client_answered_by(without_any_id([])).look_up(9)) is None


def test_the_lowest_of_several_versions_with_one_id_counts() -> None:
    """The registry lists them in no particular order."""
    client = answers_v1_with([(SUBJECT, 7), (SUBJECT, 3), ("other-value", 1), (SUBJECT, 5)])

    found = asyncio.run(client.look_up(9))

    assert found is not None
    assert (9, "v3") == (found.schema_id, found.version)


def test_a_schema_of_other_subjects_only_is_unregistered() -> None:
    """The registry has it, the topic's subject does not."""
    found = asyncio.run(answers_v1_with([("other-value", 1)]).look_up(9))

    assert found is not None
    assert found.version == "unregistered"


def test_a_schema_of_another_type_is_no_event() -> None:
    """Its type appears in the problem that its dead letters carry."""
    found = asyncio.run(answers_v1_with([(SUBJECT, 1)], schemaType="PROTOBUF").look_up(9))

    assert found is not None
    assert "PROTOBUF" in (found.problem or "")


def test_versions_that_cannot_be_parsed_are_skipped() -> None:
    """Another team may have registered a Protobuf schema, or one with references."""
    confluent = Confluent()
    unresolved = {"type": "record", "name": "X", "fields": [{"name": "y", "type": "com.Y"}]}
    confluent.versions = [
        {"id": 1, "version": 1, "schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"},
        {"id": 2, "version": 2, "schema": json.dumps(unresolved)},
        {"id": 3, "version": 3, "schema": json.dumps(event.schema(1))},
    ]

    assert RegisteredVersion(3, 3) == asyncio.run(client_answered_by(confluent).find_version(event.schema(1)))


def test_many_look_ups_do_not_delay_pings_or_other_threads() -> None:
    """Look-ups and pings each have a thread pool of their own."""
    go_on, started = threading.Event(), threading.Event()

    def request(url: str, **_: Any) -> httpx.Response:
        if "schemas/ids" in url:
            started.set()
            assert go_on.wait(60)
            return httpx.Response(500, json={})
        return httpx.Response(200, json=[])

    async def scenario() -> None:
        client = client_answered_by(request)
        look_ups = asyncio.gather(*map(client.look_up, range(1, 201)), return_exceptions=True)
        await asyncio.to_thread(started.wait, 60)
        async with asyncio.timeout(30):
            await client.ping()
            await asyncio.to_thread(lambda: None)
        go_on.set()
        assert all(isinstance(result, RegistryUnavailable) for result in await look_ups)

    try:
        asyncio.run(scenario())
    finally:
        go_on.set()


def test_a_closed_client_sends_nothing() -> None:
    """It raises RegistryUnavailable, so that no record counts as bad because the worker stops."""
    requested: list[str] = []
    client = client_answered_by(without_any_id(requested))
    client.close()

    with pytest.raises(RegistryUnavailable, match="closed"):
        asyncio.run(client.look_up(9))
    assert [] == requested


def error_classes() -> list[type[Exception]]:
    """Return every error class of the registry client and of httpx, which it uses."""
    found = {**vars(errors), **vars(httpx)}.values()
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_class_counts_as_unreachable(kind: type[Exception]) -> None:
    """None of them says that a record is bad."""
    exc = kind.__new__(kind)
    Exception.__init__(exc, "x")
    exc.__dict__.update(message="x", http_code=500)

    def fail() -> None:
        raise exc

    with pytest.raises(RegistryUnavailable):
        translated("http://registry", fail)


def nested(depth: int) -> str:
    """Return the text of a schema nested this deep."""
    return '{"type":"array","items":' * depth + '"int"' + "}" * depth


CYCLE = {"schema": '"other"', "references": [{"name": "other", "subject": "other", "version": 1}]}


@pytest.mark.parametrize(
    "body",
    [
        {"schema": nested(985)},
        {"schema": nested(100_000)},
        {"schema": "{"},
        {"schema": None},
        {"schema": 7},
        {"schema": "[1, 2]"},
        {"schema": '"unknown"'},
        {"schema": "syntax = 'proto3';", "schemaType": "PROTOBUF"},
        CYCLE,
    ],
    ids=lambda body: str(body)[:60],
)
def test_a_schema_that_cannot_be_read_is_one_with_a_problem(body: dict[str, Any]) -> None:
    """Anybody may register it under any subject: its records are dead letters, and the worker goes on."""

    def request(url: str, *_: Any, **__: Any) -> httpx.Response:
        return httpx.Response(200, json=[] if url.endswith(("/versions", "/subjects")) else body)

    writer = asyncio.run(client_answered_by(request).look_up(7))

    assert writer is not None
    assert writer.problem


@pytest.mark.parametrize("kind", ["AVRO", None])
def test_a_schema_without_type_is_avro(kind: str | None) -> None:
    """Some registries answer null."""

    def request(url: str, *_: Any, **__: Any) -> httpx.Response:
        body = {"schema": json.dumps(event.schema(1)), "schemaType": kind}
        return httpx.Response(200, json=[] if url.endswith(("/versions", "/subjects")) else body)

    writer = asyncio.run(client_answered_by(request).look_up(7))

    assert writer is not None
    assert writer.problem is None
