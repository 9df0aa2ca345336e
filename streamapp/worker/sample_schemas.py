"""Register the schemas of the sample events, which only the sample producer needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import SettingsError
from streamapp.registry.registration import SchemaRegistration
from streamapp.settings import Settings

log = logging.getLogger(__name__)


async def prepare(registration: SchemaRegistration, settings: Settings) -> Mapping[int, WriterSchema] | None:
    """Register the schemas; return them by version of this repository.

    Return None if the worker has no sample producer, or if the producer cannot have its schemas: the worker consumes
    without them.
    """
    if not settings.produce_interval_seconds:
        return None
    try:
        return await registration.prepare(register=settings.register_schemas, compatibility=settings.compatibility)
    except SettingsError as exc:
        log.warning(
            "The worker consumes events, but does not produce sample events: %s."
            " STREAMAPP_PRODUCE_INTERVAL_SECONDS=0 turns the sample producer off",
            exc,
        )
        return None
