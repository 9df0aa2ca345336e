"""Writer schemas by schema id: each id is looked up once, an unknown id is looked up again after a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema
from streamapp.retry import OutageRetrier

#: Seconds during which an unknown id is looked up again, before it counts as unknown.
UNKNOWN_ID_GRACE_SECONDS = 5.0
#: Seconds between these look-ups; they add up to UNKNOWN_ID_GRACE_SECONDS.
_GRACE_WAITS = (0.5, 1.0, 1.5, 2.0)
#: Seconds for which the answers "unknown", "unregistered" and "incomplete" are cached.
NEGATIVE_TTL_SECONDS = 30.0
#: Unknown ids that are cached; the oldest is dropped first, and then looked up again.
MAX_UNKNOWN_IDS = 10_000


class SchemaLookup(Protocol):
    """What the cache needs of the registry."""

    async def look_up(self, schema_id: int) -> WriterSchema | None:
        """Return the schema of an id; None if there is none; raise Transient if the registry does not answer."""
        ...


class SchemaCache:
    """Writer schemas by id.

    Args:
        registry: answers look-ups.
        outages: retries look-ups while the registry is unreachable.
        on_learned: called with each schema that is added, also with one that is added again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        registry: SchemaLookup,
        *,
        outages: OutageRetrier | None = None,
        on_learned: Callable[[WriterSchema], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._outages = outages or OutageRetrier("the schema registry")
        self._on_learned = on_learned
        self._clock = clock
        self._known: dict[int, WriterSchema] = {}
        #: Unknown, unregistered and incomplete ids, oldest answer first → when they are looked up again.
        self._expires_at: dict[int, float] = {}
        self._in_flight: dict[int, asyncio.Task[None]] = {}

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """Return the known schemas, among them those of these ids that exist; wait while the registry is down."""
        stale = [i for i in schema_ids if not self._is_fresh(i)]
        tasks = {i: self._refresh(i) for i in stale}
        if missing := [task for i, task in tasks.items() if i not in self._known]:
            # Shielded: if this batch is cancelled, another one may wait for the same answer.
            await asyncio.gather(*map(asyncio.shield, missing))
        return self._known

    def add(self, writer: WriterSchema) -> None:
        """Add a schema, or replace the one with its id."""
        self._known[writer.schema_id] = writer
        self._on_learned(writer)

    async def revalidate(self) -> None:
        """Look up all known schemas again; one that the registry has lost stays: records may need it.

        Raises:
            RegistryUnavailable: some were not looked up.
        """
        for schema_id in [*self._known]:
            if (found := await self._registry.look_up(schema_id)) is not None:
                self.add(found)

    def _is_fresh(self, schema_id: int) -> bool:
        if schema_id <= 0:
            return True  # ids are positive: no registry can have it
        if schema_id in self._expires_at:
            return self._clock() < self._expires_at[schema_id]
        return schema_id in self._known

    def _refresh(self, schema_id: int) -> asyncio.Task[None]:
        if schema_id not in self._in_flight:
            task = asyncio.create_task(self._learn(schema_id))
            task.add_done_callback(lambda _: self._in_flight.pop(schema_id, None))
            self._in_flight[schema_id] = task
        return self._in_flight[schema_id]

    async def _learn(self, schema_id: int) -> None:
        found = await self._look_up_with_grace(schema_id)
        if found is not None:
            self.add(found)
        # Removed and set again, so that the ids stay in the order of their answers.
        self._expires_at.pop(schema_id, None)
        if found is None or found.version == UNREGISTERED or found.is_incomplete:
            self._expires_at[schema_id] = self._clock() + NEGATIVE_TTL_SECONDS
            self._drop_oldest()

    async def _look_up_with_grace(self, schema_id: int) -> WriterSchema | None:
        # A producer may send records before its schema is registered. The grace applies to an id's first look-up only.
        waits = iter(() if schema_id in self._expires_at else _GRACE_WAITS)
        deadline = self._clock() + UNKNOWN_ID_GRACE_SECONDS
        while (found := await self._outages.run(lambda: self._registry.look_up(schema_id))) is None:
            wait = next(waits, None)
            if wait is None or self._clock() >= deadline:
                break
            await asyncio.sleep(wait)
        return found

    def _drop_oldest(self) -> None:
        # Schemas with a temporary answer stay: the registry has them, so they are few; records may need them.
        if len(self._expires_at) > MAX_UNKNOWN_IDS:
            oldest = next((i for i in self._expires_at if i not in self._known), None)
            if oldest is not None:
                del self._expires_at[oldest]
