"""The latest schema of events under the subject, whose shape all documents get; learned without a request per record.

A background task asks the registry every REFRESH_SECONDS. While the registry is unreachable, the last known schema
stays. Only the first answer is waited for: without it, the shape of events after a start would depend on chance.

A change, and the end of an outage, may also mean that the registry was restored from a backup, and gives ids to other
schemas than before: then all schemas that are cached by their ids are looked up again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.errors import RegistryUnavailable
from streamapp.registry.answers import ErrorResponse, NoConfluentApi
from streamapp.registry.schema_body import RegisteredSchema
from streamapp.retry import OutageRetrier

log = logging.getLogger(__name__)

#: Seconds after which a schema that is registered or deleted takes effect in a running worker, at the latest.
REFRESH_SECONDS = 2.0
#: A schema with more characters of JSON gives no shape: MongoDB could not store it.
_MAX_CHARACTERS = 4 * 1024 * 1024
#: The user may read schemas by their id, but not the subject.
_FORBIDDEN = 403


class SubjectVersions(Protocol):
    """What is needed of the registry; every method raises RegistryUnavailable."""

    async def latest_answer(self) -> Mapping[str, Any] | None:
        """Return the registry's answer for the latest version; None if the subject has none."""
        ...

    async def versions(self) -> list[int]:
        """Return the versions under the subject."""
        ...

    async def read_version(self, number: int) -> RegisteredSchema | None:
        """Return the schema of a version; None if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSchema:
    """A version under the subject whose records are events."""

    version: int
    #: The JSON text of the schema, and those of the schemas that it refers to, see `RegisteredSchema`.
    texts: Sequence[str]
    writer: WriterSchema


async def latest_event_schema(registry: SubjectVersions) -> EventSchema | None:
    """Return the latest version whose records are events; None if there is none.

    A later version whose records are no events gives no shape: its records become dead letters.
    """
    for number in sorted(await registry.versions(), reverse=True):
        found = await registry.read_version(number)
        if found is not None and (event_schema := await asyncio.to_thread(_parsed, number, found)) is not None:
            return event_schema
    return None


def _parsed(number: int, found: RegisteredSchema) -> EventSchema | None:
    writer = writer_schema(found.schema, schema_id=0, version=f"v{number}", definitions=found.definitions)
    if writer.problem:
        return None
    try:
        texts = [json.dumps(each) for each in (found.schema, *found.definitions)]
    except (RecursionError, TypeError, ValueError):  # nested too deeply, in a part that has no meaning
        return None
    is_small = sum(map(len, texts)) <= _MAX_CHARACTERS
    return EventSchema(version=number, texts=texts, writer=writer) if is_small else None


class LatestSchema:
    """Follows the latest event schema of the subject.

    Args:
        registry: the subject.
        outages: retries the first request while the registry is unreachable.
        note: called with each schema before any document gets its shape.
        on_change: called after each later change and each outage; raises RegistryUnavailable to be called again.
    """

    def __init__(
        self,
        registry: SubjectVersions,
        *,
        outages: OutageRetrier,
        note: Callable[[EventSchema], Awaitable[None]],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._outages = outages
        self._note = note
        self._on_change = on_change
        self._answer: Mapping[str, Any] | None = None
        #: Whether ids may have changed their meaning since the last answer.
        self._is_doubtful = False
        self._current: EventSchema | None = None
        self._is_known = asyncio.Event()
        self._lock = asyncio.Lock()

    async def get(self) -> EventSchema | None:
        """Return the schema; None if the subject has no event schema. Waits for the first answer of the registry."""
        await self._is_known.wait()
        return self._current

    async def follow(self) -> None:
        """Refresh the schema until cancelled."""
        await self._outages.run(self._first)
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Ask the registry once; an error changes nothing."""
        with suppress(RegistryUnavailable):
            await self._refresh()

    async def _first(self) -> None:
        try:
            await self._refresh()
        except ErrorResponse as exc:
            if isinstance(exc, NoConfluentApi) or (exc.is_transient and exc.status != _FORBIDDEN):
                raise  # the schemas of ids cannot be read either
            log.warning("Events are stored as written until the registry tells the latest schema: %s", exc)
            self._is_known.set()

    async def _refresh(self) -> None:
        async with self._lock:
            try:
                answer = await self._registry.latest_answer()
                await self._take(answer)
            except RegistryUnavailable:
                self._is_doubtful = True
                raise
            self._answer, self._is_doubtful = answer, False
            self._is_known.set()

    async def _take(self, answer: Mapping[str, Any] | None) -> None:
        is_known = self._is_known.is_set()
        if answer != self._answer or not is_known:
            found = await latest_event_schema(self._registry) if answer else None
            if found is not None:
                await self._note(found)
            self._current = found
        elif not self._is_doubtful:
            return
        if is_known:
            await self._on_change()
