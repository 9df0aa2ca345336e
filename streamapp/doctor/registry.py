"""Read the facts of the schema registry; compatibility requests write nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from streamapp.connections.registry import RegistryConnection
from streamapp.decode.writer_schema import WriterSchema
from streamapp.doctor.checks.finding import Findings, fault, ok, skipped
from streamapp.doctor.checks.registry import SubjectFacts, check_api, check_subject
from streamapp.errors import RegistryUnavailable
from streamapp.model import event
from streamapp.model.user_event import VERSIONS
from streamapp.registry import access
from streamapp.registry.api_path import APICURIO_PATH
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings

ANSWER_SECONDS = 3.0
_OK, _NOT_FOUND = 200, 404
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_START_OR_SET = "start a local registry with `streamapp up`, or set STREAMAPP_SCHEMA_REGISTRY_URL=<URL>"


class RegistryChecks:
    """The checks of the registry; other checks use its attributes after `findings` has ended."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = settings.schema_registry_url.rstrip("/")
        connection = RegistryConnection.of(settings)
        self._registry = RegistryClient(connection, settings.subject)
        self._client = connection.requests(ANSWER_SECONDS)
        self.is_available = False
        #: The registered schemas by version of this repository.
        self.registered: Mapping[int, WriterSchema] = {}

    def findings(self) -> Findings:
        """Run all checks."""
        began = time.monotonic()
        try:
            status, body = self._get("/subjects")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            seen = f"{self._url} does not answer: {exc or type(exc).__name__}"
            cause, remedy = access.tls_refusal(self._url, str(exc)) or (seen, _START_OR_SET)
            yield fault("registry.address", cause, remedy)
            yield skipped("registry.subject", "a reachable registry")
            return
        api = check_api(self._url, status, body, has_apicurio=self._has_apicurio(status))
        yield api
        self.is_available = status == _OK and isinstance(body, list)
        if not self.is_available:
            yield skipped("registry.subject", "a Confluent API")
            return
        yield from self._subject(began)

    def close(self) -> None:
        """Close the connections."""
        self._registry.close()
        self._client.close()

    def look_up(self, schema_id: int) -> WriterSchema | None:
        """Return the schema of an id; None if the registry has no such id.

        Raises:
            RegistryUnavailable: the registry does not answer.
        """
        return asyncio.run(self._registry.look_up(schema_id))

    def _subject(self, began: float) -> Findings:
        try:
            facts = self._facts()
        except (RegistryUnavailable, httpx.HTTPError) as exc:
            yield fault("registry.subject", str(exc) or type(exc).__name__, "read the log of the registry")
            return
        listed = f"the versions {', '.join(map(str, facts.versions))}" if facts.versions else "no version yet"
        seen = f"{facts.name} has {listed} (read in {(time.monotonic() - began) * 1000:.0f} ms)"
        yield ok("registry.subject", seen)
        yield from check_subject(
            facts,
            url=self._url,
            may_register=self._settings.register_schemas,
            sets_level=self._settings.compatibility == "backward",
            produces=self._settings.produce_interval_seconds > 0,
        )

    def _facts(self) -> SubjectFacts:
        name = self._settings.subject
        _, versions = self._get(f"/subjects/{name}/versions")
        versions = versions if isinstance(versions, list) else []
        found = {version: asyncio.run(self._registry.find_version(event.schema(version))) for version in VERSIONS}
        registered = {version: pair for version, pair in found.items() if pair}
        writers = {version: self.look_up(schema_id) for version, (schema_id, _) in registered.items()}
        self.registered = {version: writer for version, writer in writers.items() if writer}
        return SubjectFacts(
            name=name,
            versions=versions,
            level=self._level(name),
            mode=self._mode(name),
            registered={version: f"v{number}" for version, (_, number) in registered.items()},
            acceptable={
                version: self._is_accepted(name, version, versions) for version in VERSIONS if version not in registered
            },
        )

    def _level(self, subject: str) -> str | None:
        for path in (f"/config/{subject}", "/config"):
            status, body = self._get(path)
            if status == _OK and isinstance(body, dict) and (level := body.get("compatibilityLevel")):
                return str(level)
        return None

    def _mode(self, subject: str) -> str | None:
        for path in (f"/mode/{subject}", "/mode"):
            status, body = self._get(path)
            if status == _OK and isinstance(body, dict) and body.get("mode"):
                return str(body["mode"])
        return None

    def _is_accepted(self, subject: str, version: int, versions: list[Any]) -> bool | None:
        if not versions:
            return True
        for path in ("versions", "versions/latest"):
            path_of_check = f"/compatibility/subjects/{subject}/{path}"
            answer = self._request("POST", path_of_check, {"schema": json.dumps(event.schema(version))})
            if answer[0] == _OK and isinstance(answer[1], dict) and "is_compatible" in answer[1]:
                return bool(answer[1]["is_compatible"])
        return None

    def _has_apicurio(self, status: int) -> bool:
        if status == _OK:
            return False
        try:
            return isinstance(self._get(f"{APICURIO_PATH}/subjects")[1], list)
        except httpx.HTTPError:
            return False

    def _get(self, path: str) -> tuple[int, Any]:
        return self._request("GET", path)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        headers = {"Accept": f"{_MEDIA_TYPE}, application/json", "Content-Type": _MEDIA_TYPE}
        answer = self._client.request(method, path, json=body, headers=headers)
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None
