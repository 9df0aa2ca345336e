"""What the registry says, and how it is told from a registry that is away."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from schema_registry.client import errors

from streamapp.errors import RegistryUnavailable, SettingsError
from streamapp.model import event
from streamapp.registry import client as registry_client
from streamapp.registry.client import Registry
from streamapp.retry import NoRetry, OutageRetrier, RetryPolicy

Answer = tuple[int, Any]


class Confluent:
    """Answers as Confluent's registry does, which has no level for a subject until one is set."""

    def __init__(self) -> None:
        self.versions: list[dict[str, Any]] = []
        self.level: str | None = None
        self.asked: list[str] = []

    def __call__(self, url: str, method: str = "GET", body: Any = None, **_: Any) -> httpx.Response:
        path = url.removeprefix("http://registry/")
        self.asked.append(f"{method} {path}")
        status, answer = self.answer(f"{method} {path.split('/')[0]}", path.split("/"), body)
        return httpx.Response(status, json=answer)

    def answer(self, call: str, parts: list[str], body: Any) -> Answer:
        """Answer one request."""
        match call, len(parts):
            case "GET config", _:
                return (200, {"compatibilityLevel": self.level}) if self.level else (404, {"error_code": 40408})
            case "PUT config", _:
                self.level = body["compatibility"]
                return 200, body
            case "GET subjects", 3:
                numbers = [version["version"] for version in self.versions]
                return (200, numbers) if numbers else (404, {"error_code": 40401})
            case "GET subjects", 4:
                return 200, self.versions[int(parts[3]) - 1]
            case "POST subjects", 3:
                number = len(self.versions) + 1
                self.versions.append({"id": 100 + number, "version": number, "schema": body["schema"]})
                return 200, {"id": 100 + number}
            case _:
                return 404, {"error_code": 40403}


def a_registry(request: Callable[..., httpx.Response], outages: OutageRetrier | None = None) -> Registry:
    """Return a registry at the end of this request function."""
    made = Registry("http://registry", "user_events-value", outages=outages or NoRetry("registry"))
    made._client.request = request
    return made


def test_a_subject_without_level_gets_backward() -> None:
    """Confluent's 404 for it is no error."""
    confluent = Confluent()

    ours = asyncio.run(a_registry(confluent).prepare(register=True, compatibility="backward"))

    assert {1: (101, "v1"), 2: (102, "v2")} == {v: (writer.schema_id, writer.version) for v, writer in ours.items()}
    assert confluent.level == "BACKWARD"


class Raced(Confluent):
    """Someone sets a level, and registers each schema, just before us."""

    theirs: str | None = "FULL"

    def answer(self, call: str, parts: list[str], body: Any) -> Answer:
        if call == "PUT config":
            self.level = self.theirs
            return 409, {"error_code": 409, "message": f"Unable to update level: {body['compatibility']}."}
        answer = super().answer(call, parts, body)
        if call == "POST subjects" and len(parts) == 3:
            return 409, {"error_code": 409, "message": "Artifact already exists."}
        return answer


def test_whoever_comes_second_leaves_level_and_schemas_as_they_are() -> None:
    """As where a worker and send-sample start together, and the registry answers 409 to one of them."""
    raced = Raced()

    ours = asyncio.run(a_registry(raced).prepare(register=True, compatibility="backward"))

    assert (raced.level, len(raced.versions)) == ("FULL", 2)
    assert [ours[version].version for version in (1, 2)] == ["v1", "v2"]


def test_a_level_that_cannot_be_set_is_told() -> None:
    """Nobody has set one either."""
    raced = Raced()
    raced.theirs = None

    with pytest.raises(RegistryUnavailable, match=r"409: .*Unable to update level"):
        asyncio.run(a_registry(raced).prepare(register=True, compatibility="backward"))


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each request: that took some 40 ms of CPU, of which /readyz asks every 1.5 s."""
    reads = list[Any]()
    load = ssl.SSLContext.load_verify_locations
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda *args, **values: (reads.append(args), load(*args, **values))
    )
    view = Registry("http://127.0.0.1:1", "user_events-value")

    for _ in range(3):
        with pytest.raises(RegistryUnavailable):
            asyncio.run(view.ping())

    assert len(reads) == 1


def test_the_level_is_left_alone_on_request() -> None:
    """STREAMAPP_COMPATIBILITY=keep asks and changes nothing."""
    confluent = Confluent()

    asyncio.run(a_registry(confluent).prepare(register=True, compatibility="keep"))

    assert not [asked for asked in confluent.asked if "config" in asked]


def test_versions_that_nobody_can_read_are_passed_over() -> None:
    """Another team may have registered a Protobuf schema, or one with references."""
    confluent = Confluent()
    confluent.versions = [
        {"id": 1, "version": 1, "schema": 'syntax = "proto3";', "schemaType": "PROTOBUF"},
        {
            "id": 2,
            "version": 2,
            "schema": '{"type": "record", "name": "X", "fields": [{"name": "y", "type": "com.Y"}]}',
        },
        {"id": 3, "version": 3, "schema": json.dumps(event.schema(1))},
    ]

    ours = asyncio.run(a_registry(confluent).prepare(register=True, compatibility="keep"))

    assert (3, "v3") == (ours[1].schema_id, ours[1].version)


def test_a_refusal_is_told_in_words() -> None:
    """It is no outage: waiting does not mend it."""

    def refuse(url: str, method: str = "GET", **_: Any) -> httpx.Response:
        if method == "POST" and url.endswith("versions"):
            return httpx.Response(409, json={"error_code": 409, "message": "incompatible"})
        return httpx.Response(404, json={"error_code": 40401})

    with pytest.raises(SettingsError, match="refuses user_event_v1"):
        asyncio.run(a_registry(refuse).prepare(register=True, compatibility="keep"))


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
def test_an_answer_that_is_no_registrys_is_an_outage(response: httpx.Response) -> None:
    """Or every record would be poison."""
    with pytest.raises(RegistryUnavailable, match="http://registry"):
        asyncio.run(a_registry(lambda *_, **__: response).resolve({5}))


def test_an_outage_is_waited_out_and_asked_once_for_all() -> None:
    """However many batches wait for the id."""
    answers = iter([httpx.ConnectError("refused"), httpx.Response(200, json={"schema": json.dumps(event.schema(1))})])
    asked: list[str] = []

    def request(url: str, **_: Any) -> httpx.Response:
        if url.endswith("versions"):
            return httpx.Response(200, json=[{"subject": "user_events-value", "version": 4}])
        asked.append(url)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    view = a_registry(request, OutageRetrier("registry", policy=RetryPolicy(first_wait=0, max_wait=0)))

    async def scenario() -> list[str]:
        found = await asyncio.gather(*(view.resolve({9}) for _ in range(5)))
        return [schemas[9].version for schemas in found]

    assert ["v4"] * 5 == asyncio.run(scenario())
    assert len(asked) == 2


def test_the_lowest_of_two_versions_with_one_id_counts() -> None:
    """The registry tells them in no order."""

    def request(url: str, **_: Any) -> httpx.Response:
        if url.endswith("versions"):
            versions = [
                ("user_events-value", 7),
                ("user_events-value", 3),
                ("other-value", 1),
                ("user_events-value", 5),
            ]
            return httpx.Response(200, json=[{"subject": subject, "version": number} for subject, number in versions])
        return httpx.Response(200, json={"schema": json.dumps(event.schema(1))})

    assert asyncio.run(a_registry(request).resolve({9}))[9].version == "v3"


def test_a_flood_of_unknown_ids_holds_up_neither_pings_nor_others() -> None:
    """Look-ups have threads of their own, and so has the ping."""
    go_on = threading.Event()

    def request(url: str, **_: Any) -> httpx.Response:
        if "schemas/ids" in url:
            assert go_on.wait(20)
            return httpx.Response(500, json={})
        return httpx.Response(200, json=[])

    async def scenario() -> None:
        view = a_registry(request)
        flood = asyncio.create_task(view.resolve(set(range(1, 201))))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await view.ping()
            await asyncio.to_thread(lambda: None)
        go_on.set()
        with pytest.raises(RegistryUnavailable):
            await flood
        await asyncio.gather(*view._asking.values(), return_exceptions=True)

    try:
        asyncio.run(scenario())
    finally:
        go_on.set()


def unknown(asked: list[str]) -> Callable[..., httpx.Response]:
    """Return a request function that knows no id, and notes what it is asked for."""

    def request(url: str, **_: Any) -> httpx.Response:
        asked.append(url)
        return httpx.Response(404, json={"error_code": 40403})

    return request


def test_an_unknown_id_is_asked_for_with_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times in five seconds, then once every half minute."""
    now, waits, asked = [0.0], list[float](), list[str]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(registry_client.asyncio, "sleep", sleep)
    view = a_registry(unknown(asked))
    view._clock = lambda: now[0]

    asyncio.run(view.resolve({9}))
    assert [0.5, 1.0, 1.5, 2.0] == waits
    assert len(asked) == 5

    asyncio.run(view.resolve({9}))
    assert len(asked) == 5
    now[0] += registry_client.REMEMBER_FOR
    asyncio.run(view.resolve({9}))
    assert len(asked) == 6


def test_unknown_ids_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and asked for again."""
    monkeypatch.setattr(registry_client, "MOST_UNKNOWN", 3)
    monkeypatch.setattr(registry_client, "_ASK_AFTER", ())
    asked: list[str] = []
    view = a_registry(unknown(asked))

    for schema_id in (1, 2, 3, 4):
        asyncio.run(view.resolve({schema_id}))
    assert [2, 3, 4] == list(view._stale_at)

    asyncio.run(view.resolve({4}))
    assert len(asked) == 4
    asyncio.run(view.resolve({1}))
    assert len(asked) == 5


def test_a_closed_registry_is_asked_nothing() -> None:
    """It counts as away: nobody takes a record for bad because the worker ends."""
    view = a_registry(unknown([]))
    view.close()

    with pytest.raises(RegistryUnavailable):
        asyncio.run(view.resolve({9}))


def error_classes() -> list[type[Exception]]:
    """Return every error class of the registry client and of httpx, which it uses."""
    found = {**vars(errors), **vars(httpx)}.values()
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_class_is_an_outage(kind: type[Exception]) -> None:
    """None of them is a record's fault."""
    exc = kind.__new__(kind)
    Exception.__init__(exc, "x")
    exc.__dict__.update(message="x", http_code=500)

    def fail() -> None:
        raise exc

    with pytest.raises(RegistryUnavailable):
        registry_client._translated("http://registry", fail)
