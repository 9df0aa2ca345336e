"""Fetch what faults need from registry and settings, before a drill begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastavro import parse_schema

from streamapp.decode.document import EventTimes
from streamapp.decode.wire_format import write
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import SettingsError
from streamapp.registry.client import RegistryClient
from streamapp.samples.faults import Fault, FaultContext
from streamapp.settings import Settings

#: The largest possible schema id; registries assign ids from 1 upwards.
_MAX_ID = 2**31 - 1
#: The schema of the fault `foreign-schema`.
_FOREIGN = {
    "type": "record",
    "name": "Drill",
    "namespace": "streamapp",
    "doc": "No user event: sent by `streamapp send-sample --faults foreign-schema=…`.",
    "fields": [{"name": "note", "type": "string", "doc": "Whatever there is to say."}],
}


async def prepare(
    shares: Mapping[Fault, float], *, settings: Settings, registry: RegistryClient, ours: Mapping[int, WriterSchema]
) -> FaultContext:
    """Return the context of these faults; register a schema only if one of them needs it.

    Args:
        shares: the faults, each with its fraction of the events.
        settings: the topic and the limits of event times.
        registry: asked for an unknown id; gets the foreign schema.
        ours: the schemas that samples are written with, by our version.

    Raises:
        SettingsError: a fault needs a schema registered, but STREAMAPP_REGISTER_SCHEMAS is false.
    """
    more: dict[str, Any] = {}
    if shares.get(Fault.UNKNOWN_ID):
        more["unknown_id"] = await _unknown_id(registry)
    if shares.get(Fault.FOREIGN_SCHEMA):
        more["foreign"] = await _foreign(settings, registry)
    times = EventTimes.of(settings.min_event_time, ahead_seconds=settings.max_event_lead_seconds)
    return FaultContext(times=times, schemas={writer.schema_id: writer for writer in ours.values()}, **more)


async def _unknown_id(registry: RegistryClient) -> int:
    schema_id = _MAX_ID
    while await registry.has(schema_id):
        schema_id -= 1
    return schema_id


async def _foreign(settings: Settings, registry: RegistryClient) -> bytes:
    subject = f"{settings.topic}-drill"
    if not settings.register_schemas:
        message = (
            f"The fault foreign-schema registers a schema under {subject}, but STREAMAPP_REGISTER_SCHEMAS is false."
        )
        raise SettingsError(message)
    schema_id = await registry.register(_FOREIGN, subject)
    return write({"note": "a drill"}, schema=parse_schema(_FOREIGN, named_schemas={}), schema_id=schema_id)
