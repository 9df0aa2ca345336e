"""The schema registry: which schema an id names and which version it has; our own schemas registered.

On python-schema-registry-client, whose calls block: they run in threads. A registry that is away is waited for; an
id that the registry does not know is asked for again for a while, and then known to be unknown for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import httpx
from schema_registry.client import SchemaRegistryClient
from schema_registry.client.errors import ClientError
from schema_registry.client.schema import AvroSchema

from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema, canonical_form, writer_schema
from streamapp.errors import RegistryUnavailable, SettingsError
from streamapp.model import event
from streamapp.model.event import Schema
from streamapp.retry import OutageRetrier

T = TypeVar("T")

#: Seconds for which an unknown id is asked for again before it counts as unknown …
ASK_FOR = 5.0
#: … and seconds for which the answer then stands; also how long "unregistered" stands.
REMEMBER_FOR = 30.0
#: Waits between the questions for an unknown id, ASK_FOR in all.
_ASK_AFTER = (0.5, 1.0, 1.5, 2.0)
#: Questions to the registry at the same time.
_LOOK_UPS_AT_ONCE = 4
#: Unknown ids that are remembered; the oldest goes first, and is asked for again.
MOST_UNKNOWN = 10_000
_TIMEOUT = httpx.Timeout(5.0)
_NOT_FOUND = 404
_SCHEMA_NOT_FOUND = 40403
_SERVER_ERROR = 500
# Rights, time, too many requests: somebody can mend them while we wait.
_TRANSIENT = frozenset({401, 403, 408, 429})


class Registry:
    """One subject's view of the registry, with a cache."""

    def __init__(
        self,
        url: str,
        subject: str,
        *,
        outages: OutageRetrier | None = None,
        on_learned: Callable[[WriterSchema], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.subject = subject
        self.outages = outages or OutageRetrier("the schema registry")
        self._on_learned = on_learned
        self._clock = clock
        self._client = SchemaRegistryClient({"url": url.rstrip("/")}, timeout=_TIMEOUT)
        # Or the certificates of all authorities would be read again for each request, which takes longer than the rest.
        self._client.client_kwargs["verify"] = httpx.create_ssl_context()
        self._known: dict[int, WriterSchema] = {}
        #: id → when the answer "unknown", or "unregistered", is to be asked for again
        self._stale_at: dict[int, float] = {}
        self._asking: dict[int, asyncio.Task[None]] = {}
        # Their own: a flood of unknown ids must hold up neither dead letters and Kafka's administration, nor /readyz.
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="registry")
        self._ping_thread = ThreadPoolExecutor(1, thread_name_prefix="registry-ping")

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """The schemas of those ids that exist; waits while the registry is away."""
        due = [i for i in schema_ids if not self._is_settled(i)]
        asked = {i: self._ask(i) for i in due}
        if missing := [task for i, task in asked.items() if i not in self._known]:
            # Shielded: another batch may wait for the same answer when this one is cancelled.
            await asyncio.gather(*map(asyncio.shield, missing))
        return self._known

    async def knows(self, schema_id: int) -> bool:
        """Whether there is such a schema now."""
        return await self.outages.run(lambda: self._call(lambda: self._find(schema_id) is not None))

    async def register_elsewhere(self, subject: str, schema: Schema) -> int:
        """Register a schema under another subject than ours; its id."""
        return await self.outages.run(lambda: self._call(lambda: self._client.register(subject, AvroSchema(schema))))

    async def registered(self, schema: Schema) -> tuple[int, int] | None:
        """Schema id and version under the subject, if the schema stands there in any spelling, asked for once."""
        return await self._call(lambda: self._registered(schema))

    async def ping(self) -> None:
        """Raise RegistryUnavailable unless the registry answers."""
        await self._call(self._client.get_subjects, self._ping_thread)

    def close(self) -> None:
        """Ask nothing more; what is under way is not waited for."""
        for threads in (self._threads, self._ping_thread):
            threads.shutdown(wait=False, cancel_futures=True)

    def _is_settled(self, schema_id: int) -> bool:
        if schema_id <= 0:
            return True  # ids are positive: no registry can know it
        if schema_id in self._stale_at:
            return self._clock() < self._stale_at[schema_id]
        return schema_id in self._known

    def _ask(self, schema_id: int) -> asyncio.Task[None]:
        if schema_id not in self._asking:
            task = asyncio.create_task(self._learn(schema_id))
            task.add_done_callback(lambda _: self._asking.pop(schema_id, None))
            self._asking[schema_id] = task
        return self._asking[schema_id]

    async def _learn(self, schema_id: int) -> None:
        found = await self._ask_again(schema_id)
        if found is not None:
            self._learned(found)
        # The latest comes last.
        self._stale_at.pop(schema_id, None)
        if found is None or found.version == UNREGISTERED:
            self._stale_at[schema_id] = self._clock() + REMEMBER_FOR
            self._forget_oldest()

    async def _ask_again(self, schema_id: int) -> WriterSchema | None:
        waits = iter(() if schema_id in self._stale_at else _ASK_AFTER)
        deadline = self._clock() + ASK_FOR
        while (found := await self.outages.run(lambda: self.look_up(schema_id))) is None:
            wait = next(waits, None)
            if wait is None or self._clock() >= deadline:
                break
            await asyncio.sleep(wait)
        return found

    def _forget_oldest(self) -> None:
        # Unregistered ones stay: they are in the registry, hence few, and their schemas may be in use.
        if len(self._stale_at) > MOST_UNKNOWN:
            oldest = next((i for i in self._stale_at if i not in self._known), None)
            if oldest is not None:
                del self._stale_at[oldest]

    def _learned(self, writer: WriterSchema) -> None:
        self._known[writer.schema_id] = writer
        self._on_learned(writer)

    async def look_up(self, schema_id: int) -> WriterSchema | None:
        """The schema of an id, asked for now and once; None if there is none."""
        found = await self._call(lambda: self._find(schema_id))
        if found is None:
            return None
        version = await self._call(lambda: self._version(schema_id))
        definitions = await self._call(lambda: list(self._definitions(found)))
        return writer_schema(_parsed(found), schema_id=schema_id, version=version, definitions=definitions)

    def _definitions(self, found: Mapping[str, Any]) -> Iterator[Schema]:
        """Schemas of other subjects that this one refers to, in the order in which they can be read."""
        for reference in found.get("references") or ():
            referred = self._get("get_schema", subject=reference["subject"], version=reference["version"])
            yield from self._definitions(referred)
            yield _parsed(referred)

    def _find(self, schema_id: int) -> Mapping[str, Any] | None:
        try:
            return self._get("get_by_id", schema_id=schema_id)
        except _NotFoundError as exc:
            # Any other 404 is not the registry speaking (a wrong path, a proxy): waited out, or all records were bad.
            if exc.error_code == _SCHEMA_NOT_FOUND:
                return None
            raise

    def _version(self, schema_id: int) -> str:
        pairs = self._client.get_schema_subject_versions(schema_id) or []
        versions = [int(pair.version) for pair in pairs if pair.subject == self.subject]
        return f"v{min(versions)}" if versions else UNREGISTERED

    async def _call(self, call: Callable[[], T], threads: Executor | None = None) -> T:
        try:
            called = asyncio.get_running_loop().run_in_executor(threads or self._threads, _translated, self.url, call)
        except RuntimeError as exc:  # closed
            message = f"{self.url} is not asked any more"
            raise RegistryUnavailable(message) from exc
        return await called

    # Our own schemas

    async def prepare(self, *, register: bool, compatibility: Literal["backward", "keep"]) -> dict[int, WriterSchema]:
        """Make sure that our schemas are registered; our version (1, 2) → what the registry calls it.

        A version under the subject with the same Parsing Canonical Form counts as ours. Waits for the registry.

        Raises:
            SettingsError: the registry refuses a schema, or it is missing and `register` is False.
        """
        ours: dict[int, WriterSchema] = {}
        for version in (1, 2):
            schema = event.schema(version)
            ours[version] = await self.outages.run(lambda s=schema, v=version: self._ensure(s, v, register=register))
            if version == 1 and register and compatibility == "backward":
                # After V1, since some registries know no level for a subject without schemas; before V2, to hold it.
                await self.outages.run(lambda: self._call(self._ensure_level))
        return ours

    async def _ensure(self, schema: Schema, version: int, *, register: bool) -> WriterSchema:
        found = await self.registered(schema)
        if found is None and not register:
            message = (
                f"user_event_v{version}.avsc is not registered under {self.subject}, and STREAMAPP_REGISTER_SCHEMAS is"
                " false. Register it, or set STREAMAPP_REGISTER_SCHEMAS=true"
            )
            raise SettingsError(message)
        if found is None:
            await self._call(lambda: self._register(schema, version))
            found = await self.registered(schema)
        if found is None:
            message = f"the registry does not show {self.subject} yet"
            raise RegistryUnavailable(message)
        schema_id, number = found
        writer = writer_schema(schema, schema_id=schema_id, version=f"v{number}")
        self._learned(writer)
        return writer

    def _registered(self, schema: Schema) -> tuple[int, int] | None:
        """Schema id and version under the subject, if the schema stands there in any spelling."""
        wanted = canonical_form(schema)
        for number in sorted(self._client.get_versions(self.subject) or []):
            # Not by the client's get_schema, which cannot read some schemas that others may have registered.
            found = self._get("get_schema", subject=self.subject, version=number)
            if writer_schema(_parsed(found), schema_id=0, version="").canonical == wanted:
                return int(found["id"]), int(number)
        return None

    def _register(self, schema: Schema, version: int) -> None:
        try:
            self._client.register(self.subject, AvroSchema(schema))
        except ClientError as exc:
            if _is_transient(exc.http_code):
                raise
            if self._registered(schema):  # someone has just registered it
                return
            message = (
                f"the registry at {self.url} refuses user_event_v{version}.avsc under {self.subject}:"
                f" {exc.message} ({exc.http_code}). Compare it with the versions that are there"
            )
            raise SettingsError(message) from exc

    def _ensure_level(self) -> None:
        if self._level() == "NONE":
            try:
                self._client.update_compatibility("BACKWARD", self.subject)
            except ClientError:
                if self._level() == "NONE":
                    raise
                # Someone has just set one, and Apicurio answers 409 to whoever comes second.

    def _level(self) -> str:
        # Where a subject has no level of its own, Confluent's registry answers 404 and Apicurio 200 with NONE.
        try:
            return self._get("get_compatibility", subject=self.subject).get("compatibilityLevel", "NONE")
        except _NotFoundError:
            return "NONE"

    def _get(self, what: str, **parts: Any) -> Any:
        url, method = self._client.url_manager.url_for(what, **parts)
        response = self._client.request(url, method=method)
        if response.status_code == _NOT_FOUND:
            raise _NotFoundError(response)
        if not response.is_success:
            raise ClientError(response.text[:200], http_code=response.status_code)
        return response.json()


class _NotFoundError(ClientError):
    """The registry, or whatever answers in its place, has no such thing."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.text[:200], http_code=response.status_code)
        self.error_code: int | None = None
        with contextlib.suppress(ValueError, AttributeError):
            self.error_code = response.json().get("error_code")


def _parsed(body: Mapping[str, Any]) -> Any:
    if body.get("schemaType", "AVRO") != "AVRO":
        return {"type": body["schemaType"]}  # no event, and says why
    return json.loads(body["schema"])


def _translated(url: str, call: Callable[[], T]) -> T:
    """Call, and tell a registry that is away from an answer."""
    try:
        return call()
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict, OSError) as exc:
        message = f"{url} does not answer (STREAMAPP_SCHEMA_REGISTRY_URL): {exc or type(exc).__name__}"
        raise RegistryUnavailable(message) from exc
    except ClientError as exc:
        message = f"{url} answers {exc.http_code}: {exc.message}"
        raise RegistryUnavailable(message) from exc
    except (ValueError, LookupError, TypeError, AttributeError) as exc:  # no JSON, or another than a registry's
        message = f"{url} does not answer as a schema registry does (STREAMAPP_SCHEMA_REGISTRY_URL): {exc}"
        raise RegistryUnavailable(message) from exc


def _is_transient(code: int | None) -> bool:
    return code is None or code in _TRANSIENT or code >= _SERVER_ERROR
