"""Ask the schema registry; its questions for compatibility write nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from streamapp.decode.writer_schema import WriterSchema
from streamapp.doctor.checks.finding import Findings, fault, ok, skipped
from streamapp.doctor.checks.registry import SubjectFacts, judge_api, judge_subject
from streamapp.errors import RegistryUnavailable
from streamapp.model import event
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings

ANSWER_SECONDS = 3.0
_OK, _NOT_FOUND = 200, 404
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_STARTS_LOCALLY = "`streamapp up` starts a local one, or STREAMAPP_SCHEMA_REGISTRY_URL=<address>"


class RegistryChecks:
    """The checks of the registry; what others need of it is known when they are done."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = settings.schema_registry_url.rstrip("/")
        self._registry = RegistryClient(self._url, settings.subject)
        self._client = httpx.Client(timeout=ANSWER_SECONDS)
        self.answers = False
        #: Our version → as it is registered.
        self.ours: Mapping[int, WriterSchema] = {}

    def findings(self) -> Findings:
        """All checks, in their order."""
        began = time.monotonic()
        try:
            status, body = self._get("/subjects")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            seen = f"{self._url} does not answer: {exc or type(exc).__name__}"
            yield fault("registry.address", seen, _STARTS_LOCALLY)
            yield skipped("registry.subject", "a registry that answers")
            return
        api = judge_api(self._url, status, body, has_apicurio=self._has_apicurio(status))
        yield api
        self.answers = status == _OK and isinstance(body, list)
        if not self.answers:
            yield skipped("registry.subject", "a Confluent API")
            return
        yield from self._subject(began)

    def close(self) -> None:
        """Give up the connections."""
        self._registry.close()
        self._client.close()

    def look_up(self, schema_id: int) -> WriterSchema | None:
        """The schema of an id; None if the registry knows none.

        Raises:
            RegistryUnavailable: it does not answer.
        """
        return asyncio.run(self._registry.look_up(schema_id))

    def _subject(self, began: float) -> Findings:
        try:
            facts = self._facts()
        except (RegistryUnavailable, httpx.HTTPError) as exc:
            yield fault("registry.subject", str(exc) or type(exc).__name__, "look at the registry's log")
            return
        listed = ", ".join(map(str, facts.versions)) or "none yet"
        seen = f"{facts.name} has versions: {listed} (asked in {(time.monotonic() - began) * 1000:.0f} ms)"
        yield ok("registry.subject", seen)
        yield from judge_subject(
            facts,
            url=self._url,
            may_register=self._settings.register_schemas,
            sets_level=self._settings.compatibility == "backward",
        )

    def _facts(self) -> SubjectFacts:
        name = self._settings.subject
        _, versions = self._get(f"/subjects/{name}/versions")
        versions = versions if isinstance(versions, list) else []
        found = {version: asyncio.run(self._registry.find_version(event.schema(version))) for version in (1, 2)}
        ours = {version: pair for version, pair in found.items() if pair}
        writers = {version: self.look_up(schema_id) for version, (schema_id, _) in ours.items()}
        self.ours = {version: writer for version, writer in writers.items() if writer}
        return SubjectFacts(
            name=name,
            versions=versions,
            level=self._level(name),
            mode=self._mode(name),
            ours={version: f"v{number}" for version, (_, number) in ours.items()},
            acceptable={version: self._takes(name, version, versions) for version in (1, 2) if version not in ours},
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

    def _takes(self, subject: str, version: int, versions: list[Any]) -> bool | None:
        if not versions:
            return True
        for path in ("versions", "versions/latest"):
            url = f"{self._url}/compatibility/subjects/{subject}/{path}"
            answer = self._asked("POST", url, {"schema": json.dumps(event.schema(version))})
            if answer[0] == _OK and isinstance(answer[1], dict) and "is_compatible" in answer[1]:
                return bool(answer[1]["is_compatible"])
        return None

    def _has_apicurio(self, status: int) -> bool:
        if status == _OK:
            return False
        try:
            return isinstance(self._get("/apis/ccompat/v7/subjects")[1], list)
        except httpx.HTTPError:
            return False

    def _get(self, path: str) -> tuple[int, Any]:
        return self._asked("GET", f"{self._url}{path}")

    def _asked(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        headers = {"Accept": f"{_MEDIA_TYPE}, application/json", "Content-Type": _MEDIA_TYPE}
        answer = self._client.request(method, url, json=body, headers=headers)
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None
