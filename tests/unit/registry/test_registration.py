"""Registration of the schemas, alone and beside other clients that do the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

import httpx
import pytest

from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import RegistryUnavailable, SettingsError
from streamapp.model.user_event import VERSIONS
from streamapp.registry.registration import SchemaRegistration
from streamapp.retry import NoRetry
from tests.support.registry_stub import Answer, Confluent, client_answered_by


def prepare(
    request: Callable[..., httpx.Response],
    compatibility: Literal["backward", "keep"] = "backward",
    *,
    register: bool = True,
) -> Mapping[int, WriterSchema]:
    """Register all schemas, without retries."""
    registration = SchemaRegistration(client_answered_by(request), outages=NoRetry("registry"))
    return asyncio.run(registration.prepare(register=register, compatibility=compatibility))


def test_a_subject_without_level_gets_backward() -> None:
    """Confluent's 404 for the level is not an error."""
    confluent = Confluent()

    registered = prepare(confluent)

    assert {version: (100 + version, f"v{version}") for version in VERSIONS} == {
        v: (writer.schema_id, writer.version) for v, writer in registered.items()
    }
    assert confluent.level == "BACKWARD"


def test_a_registered_subject_takes_only_reads() -> None:
    """A restart of a worker writes nothing to the registry."""
    confluent = Confluent()
    prepare(confluent)
    confluent.requested.clear()

    prepare(confluent)

    versions = "GET subjects/user_events-value/versions"
    level = "GET config/user_events-value"
    each = [f"{versions}/{version}" for version in VERSIONS]
    reads = [request for version in VERSIONS for request in (versions, *each[:version])]
    assert [*reads[:2], level, *reads[2:]] == confluent.requested


class Raced(Confluent):
    """Another client sets a level, and registers each schema, just before us."""

    theirs: str | None = "FULL"

    def answer(self, call: str, parts: list[str], body: Any) -> Answer:
        if call == "PUT config":
            self.level = self.theirs
            return 409, {"error_code": 409, "message": f"Unable to update level: {body['compatibility']}."}
        answer = super().answer(call, parts, body)
        if call == "POST subjects" and len(parts) == 3:
            return 409, {"error_code": 409, "message": "Artifact already exists."}
        return answer


def test_level_and_schemas_of_a_simultaneous_client_are_kept() -> None:
    """A worker and send-sample may start together, and the registry answers 409 to one of them."""
    raced = Raced()

    registered = prepare(raced)

    assert (raced.level, len(raced.versions)) == ("FULL", len(VERSIONS))
    assert {version: f"v{version}" for version in VERSIONS} == {v: writer.version for v, writer in registered.items()}


def test_a_url_without_the_confluent_api_is_a_wrong_setting() -> None:
    """The error names the setting and the path, before anything is registered."""
    with pytest.raises(SettingsError, match=r"STREAMAPP_SCHEMA_REGISTRY_URL=.*/apis/ccompat/v7"):
        prepare(lambda *_, **__: httpx.Response(404, json={"status": 404}))


def test_a_level_that_cannot_be_set_is_an_outage() -> None:
    """It is one only if no other client has set a level either."""
    raced = Raced()
    raced.theirs = None

    with pytest.raises(RegistryUnavailable, match=r"409: .*Unable to update level"):
        prepare(raced)


def test_keep_sends_no_request_for_the_level() -> None:
    """STREAMAPP_COMPATIBILITY=keep neither reads nor changes it."""
    confluent = Confluent()

    prepare(confluent, compatibility="keep")

    assert not [request for request in confluent.requested if "config" in request]


def test_a_refused_schema_is_a_settings_error() -> None:
    """A retry cannot help."""

    def refuse(url: str, method: str = "GET", **_: Any) -> httpx.Response:
        if method == "POST" and url.endswith("versions"):
            return httpx.Response(409, json={"error_code": 409, "message": "incompatible"})
        return httpx.Response(404, json={"error_code": 40401})

    with pytest.raises(SettingsError, match="refuses user_event_v1"):
        prepare(refuse, compatibility="keep")


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
def test_a_transient_answer_to_a_registration_is_an_outage(status: int) -> None:
    """An operator or time can correct it while the worker waits."""

    def answer(url: str, method: str = "GET", **_: Any) -> httpx.Response:
        if method == "POST" and url.endswith("versions"):
            return httpx.Response(status, json={})
        return httpx.Response(404, json={"error_code": 40401})

    with pytest.raises(RegistryUnavailable, match=f"answers {status}"):
        prepare(answer, compatibility="keep")


class OfAnotherTeam(Confluent):
    """The subject has the schema of another team, and the registry takes any schema."""

    def __init__(self) -> None:
        super().__init__()
        schema = {"type": "record", "name": "PageEvent", "fields": [{"name": "session_id", "type": "string"}]}
        self.versions.append({"id": 1, "version": 1, "schema": json.dumps(schema)})


@pytest.mark.parametrize("compatibility", ["backward", "keep"])
@pytest.mark.parametrize("register", [True, False])
def test_nothing_is_registered_beside_the_schemas_of_others(
    compatibility: Literal["backward", "keep"],
    register: bool,
) -> None:
    """Neither a version nor a compatibility level, even if the registry would accept them; the error says why."""
    team = OfAnotherTeam()

    with pytest.raises(SettingsError, match="user_events-value"):
        prepare(team, compatibility, register=register)

    assert {"GET"} == {request.split()[0] for request in team.requested}
    # Each schema of this repository is compared with it once.
    assert len(VERSIONS) == team.requested.count("GET subjects/user_events-value/versions/1")


@pytest.mark.parametrize("missing", [0, len(VERSIONS) - 1])
def test_a_subject_without_one_of_the_schemas_gets_it(missing: int) -> None:
    """It has also a version that somebody else has added."""
    confluent = Confluent()
    prepare(confluent)
    confluent.versions[missing]["schema"] = OfAnotherTeam().versions[0]["schema"]

    ours = prepare(confluent)

    expected = [f"v{version}" for version in VERSIONS]
    expected[missing] = f"v{len(VERSIONS) + 1}"
    assert expected == [ours[version].version for version in VERSIONS]
