"""Requests to the schema registry, by python-schema-registry-client; its errors become RegistryUnavailable.

The library's calls block, so they run in threads. Its `get_schema` and `get_by_id` parse what they return, and cannot
parse some schemas that other teams may register: these requests go through the library's `request` and return JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
from schema_registry.client.schema import AvroSchema

from streamapp.connections.registry import RegistryConnection
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema, canonical_form, writer_schema
from streamapp.errors import RegistryUnavailable
from streamapp.model.event import Schema
from streamapp.registry import schema_body
from streamapp.registry.answers import NOT_FOUND, RefusedError, content, translated
from streamapp.registry.schema_body import Reference, RegisteredSchema, UnreadableReferenceError

T = TypeVar("T")

_MAX_CONCURRENT_REQUESTS = 4
_TIMEOUT = httpx.Timeout(5.0)


class RegisteredVersion(NamedTuple):
    """A schema's place in the registry: its id, and its version under the subject."""

    schema_id: int
    version: int


class RegistryClient:
    """The registry's API for one subject; every method raises RegistryUnavailable if the registry does not answer."""

    def __init__(self, connection: RegistryConnection, subject: str) -> None:
        self.url = connection.url
        self.subject = subject
        self._client = connection.client(_TIMEOUT)
        # Pools of its own: many unknown ids must delay neither dead letters and Kafka administration, nor /readyz.
        self._threads = ThreadPoolExecutor(_MAX_CONCURRENT_REQUESTS, thread_name_prefix="registry")
        self._ping_thread = ThreadPoolExecutor(1, thread_name_prefix="registry-ping")

    async def look_up(self, schema_id: int) -> WriterSchema | None:
        """Return the schema of an id, with its version under the subject; None if the registry has no such id."""
        return await self._call(lambda: self._look_up(schema_id))

    async def has(self, schema_id: int) -> bool:
        """Whether the registry has a schema of this id."""
        return await self._call(lambda: self._get_by_id(schema_id) is not None)

    async def versions(self) -> list[int]:
        """Return the versions under the subject."""
        return await self._call(self._versions)

    async def latest_answer(self) -> Mapping[str, Any] | None:
        """Return the registry's answer for the latest version under the subject; None if there is none."""
        return await self._call(lambda: self._version_answer("latest"))

    async def read_version(self, number: int) -> RegisteredSchema | None:
        """Return the schema of a version under the subject; None if there is none."""
        return await self._call(lambda: self._read_version(number))

    async def read_id(self, schema_id: int) -> RegisteredSchema | None:
        """Return the schema of an id; None if the registry has no such id."""
        return await self._call(lambda: self._read_id(schema_id))

    async def find_version(self, schema: Schema) -> RegisteredVersion | None:
        """Return the version under the subject that has the same Parsing Canonical Form; None if there is none."""
        return await self._call(lambda: self._find_version(schema))

    async def register(self, schema: Schema, subject: str | None = None) -> int:
        """Register a schema, under the client's own subject unless another is given; return its id.

        Raises:
            ErrorResponse: the registry refuses the schema.
        """
        return await self._call(lambda: self._client.register(subject or self.subject, AvroSchema(schema)))

    async def register_text(self, text: str) -> int:
        """Register the JSON text of a schema under the client's subject, as it is; return its id.

        Raises:
            ErrorResponse: the registry refuses the schema.
        """
        return await self._call(lambda: self._register_text(text))

    async def compatibility_level(self) -> str:
        """Return the subject's own compatibility level; "NONE" if it has none."""
        return await self._call(self._compatibility_level)

    async def effective_level(self) -> str:
        """Return the compatibility level that holds for the subject: its own one, else that of the registry."""
        return await self._call(self._effective_level)

    async def set_compatibility_level(self, level: str) -> None:
        """Set the subject's compatibility level.

        Raises:
            ErrorResponse: the registry refuses the change.
        """
        await self._call(lambda: self._client.update_compatibility(level, self.subject))

    async def ping(self) -> None:
        """Raise RegistryUnavailable unless the registry answers."""
        await self._call(self._client.get_subjects, self._ping_thread)

    def close(self) -> None:
        """Refuse further requests; do not wait for those in flight."""
        for threads in (self._threads, self._ping_thread):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, call: Callable[[], T], threads: Executor | None = None) -> T:
        try:
            called = asyncio.get_running_loop().run_in_executor(threads or self._threads, translated, self.url, call)
        except RuntimeError as exc:  # the pool is shut down
            message = f"the client of {self.url} is closed"
            raise RegistryUnavailable(message) from exc
        return await called

    # Blocking requests, each run in a thread

    def _look_up(self, schema_id: int) -> WriterSchema | None:
        """The schema of an id, parsed here: a large schema takes longer than the event loop may be blocked."""
        body = self._get_by_id(schema_id)
        if body is None:
            return None
        version = self._version_label(schema_id)
        found = schema_body.registered(body, self._get_referenced)
        writer = writer_schema(found.schema, schema_id=schema_id, version=version, definitions=found.definitions)
        return replace(writer, is_incomplete=found.is_incomplete)

    def _get_by_id(self, schema_id: int) -> Mapping[str, Any] | None:
        try:
            return self._get("get_by_id", schema_id=schema_id)
        except RefusedError as exc:
            # A 404 may also come from a wrong path or a proxy. Taken for "unknown id", it would make every record a
            # dead letter.
            if exc.http_code == NOT_FOUND and (exc.is_of_registry or self._is_registry(exc)):
                return None
            raise

    def _is_registry(self, answer: RefusedError) -> bool:
        """Whether this path is that of a registry, some of which have error codes of their own."""
        return answer.is_json and isinstance(self._get("get_subjects"), list)

    def _version_label(self, schema_id: int) -> str:
        # Deleted versions count: the records that are stored with such a version keep it. `deleted` is a parameter of
        # the Confluent API that some registries do not know.
        for params in ({"deleted": "true"}, None):
            try:
                pairs = self._get("get_schema_subject_versions", params, schema_id=schema_id)
            except RefusedError as exc:
                if exc.http_code == NOT_FOUND:
                    break
                continue
            versions = [int(pair["version"]) for pair in pairs or () if pair["subject"] == self.subject]
            return f"v{min(versions)}" if versions else UNREGISTERED
        return UNREGISTERED

    def _get_referenced(self, reference: Reference) -> Mapping[str, Any]:
        for params in (None, {"deleted": "true"}):
            try:
                subject, version = (quote(part, safe="") for part in reference)
                return self._get("get_schema", params, subject=subject, version=version)
            except RefusedError as exc:
                if not (exc.is_of_registry or self._is_registry(exc)):
                    raise
        message = f"it refers to version {reference.version} of {reference.subject}, which the registry does not have"
        raise UnreadableReferenceError(message)

    def _find_version(self, schema: Schema) -> RegisteredVersion | None:
        wanted = canonical_form(schema)
        for number in sorted(self._versions()):
            body = self._get("get_schema", subject=self.subject, version=number)
            if writer_schema(schema_body.schema_in(body), schema_id=0, version="").canonical == wanted:
                return RegisteredVersion(int(body["id"]), int(number))
        return None

    def _register_text(self, text: str) -> int:
        url, method = self._client.url_manager.url_for("register", subject=self.subject)
        return int(self._request(url, method, body={"schema": text})["id"])

    def _read_version(self, number: int) -> RegisteredSchema | None:
        body = self._version_answer(number)
        return None if body is None else schema_body.registered(body, self._get_referenced)

    def _version_answer(self, version: int | str) -> Mapping[str, Any] | None:
        try:
            return self._get("get_schema", subject=self.subject, version=version)
        except RefusedError as exc:
            if exc.is_of_registry or self._is_registry(exc):
                return None
            raise

    def _read_id(self, schema_id: int) -> RegisteredSchema | None:
        body = self._get_by_id(schema_id)
        return None if body is None else schema_body.registered(body, self._get_referenced)

    def _versions(self) -> list[int]:
        try:
            return [int(number) for number in self._get("get_versions", subject=self.subject)]
        except RefusedError as exc:
            if exc.http_code != NOT_FOUND:
                raise
            if not exc.is_of_registry:
                self._get("get_subjects")  # fails unless the server is a registry
            return []

    def _compatibility_level(self) -> str:
        # For a subject without a level of its own, Confluent's registry answers 404, Apicurio 200 with NONE.
        try:
            return self._get("get_compatibility", subject=self.subject).get("compatibilityLevel") or "NONE"
        except RefusedError as exc:
            if exc.http_code == NOT_FOUND:
                return "NONE"
            raise

    def _effective_level(self) -> str:
        try:
            found = self._get("get_compatibility", {"defaultToGlobal": "true"}, subject=self.subject)
        except RefusedError as exc:
            if exc.http_code != NOT_FOUND:
                raise
            found = self._request(f"{self._client.url_manager.url}config", "GET")
        return found.get("compatibilityLevel") or "NONE"

    def _get(self, what: str, params: Mapping[str, str] | None = None, **parts: Any) -> Any:
        url, method = self._client.url_manager.url_for(what, **parts)
        return self._request(url, method, params)

    def _request(
        self, url: str, method: str, params: Mapping[str, str] | None = None, body: Mapping[str, str] | None = None
    ) -> Any:
        response = self._client.request(
            url, method=method, params=dict(params) if params else None, body=dict(body) if body else None
        )
        return content(response)
