"""Writer schemas by id, whose events are stored in the canonical shape; see `streamapp.decode.shape`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema, in_shape_of
from streamapp.registry.latest_schema import EventSchema, LatestSchema


class WrittenSchemas(Protocol):
    """Resolves writer schemas; see `SchemaCache`."""

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """Return the known schemas, among them those of these ids that exist."""
        ...


class _Shaped:
    """The schemas in the shape of one latest schema."""

    def __init__(self, latest: EventSchema) -> None:
        self.latest = latest
        self.by_id: dict[int, WriterSchema] = {}
        self._written: dict[int, WriterSchema] = {}

    def lacking(self, written: Mapping[int, WriterSchema]) -> list[WriterSchema]:
        """Those that are not compiled for the shape yet; the registry may answer differently for an id later."""
        return [each for each in written.values() if self._written.get(each.schema_id) is not each]

    async def add(self, writer: WriterSchema) -> None:
        """Compile a schema, in a thread: a large one takes longer than the event loop may be blocked."""
        self.by_id[writer.schema_id] = await asyncio.to_thread(in_shape_of, writer, self.latest.writer)
        self._written[writer.schema_id] = writer


class CanonicalSchemas:
    """Resolves writer schemas whose events are stored in the shape of the latest schema.

    Args:
        written: resolves them as they are.
        latest: the latest schema.
    """

    def __init__(self, written: WrittenSchemas, latest: LatestSchema) -> None:
        self._written = written
        self._latest = latest
        self._shaped: _Shaped | None = None
        self._seen: set[int] = set()

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """Return the known schemas, among them those of these ids that exist; wait while the registry is down."""
        known = await self._written.resolve(schema_ids)
        wanted = {schema_id: known[schema_id] for schema_id in schema_ids if schema_id in known}
        if not wanted:
            return known
        latest = await self._latest_for(wanted)
        if latest is None:
            return known
        if self._shaped is None or self._shaped.latest is not latest:
            self._shaped = _Shaped(latest)
        shaped = self._shaped  # another batch may see a later schema meanwhile
        for each in shaped.lacking(wanted):
            await shaped.add(each)
        return shaped.by_id

    async def _latest_for(self, wanted: Mapping[int, WriterSchema]) -> EventSchema | None:
        """The latest schema; the first record of a later version tells that there is one."""
        latest = await self._latest.get()
        new = wanted.keys() - self._seen
        self._seen |= new
        if not any(_number(wanted[schema_id]) > (latest.version if latest else 0) for schema_id in new):
            return latest
        await self._latest.refresh()
        return await self._latest.get()


def _number(writer: WriterSchema) -> int:
    return 0 if writer.version == UNREGISTERED else int(writer.version.removeprefix("v"))
