"""Register the event schemas of this repository, and set the subject's compatibility level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.errors import RegistryUnavailable, SettingsError
from streamapp.model import event
from streamapp.model.event import Schema
from streamapp.model.user_event import VERSIONS
from streamapp.registry.answers import ErrorResponse, NoConfluentApi
from streamapp.registry.client import RegisteredVersion, RegistryClient
from streamapp.retry import OutageRetrier


class SchemaRegistration:
    """Registers the schemas under the client's subject; retries while the registry is unreachable.

    Args:
        client: the registry.
        outages: retries requests.
        on_registered: called with each of the schemas.
    """

    def __init__(
        self,
        client: RegistryClient,
        *,
        outages: OutageRetrier | None = None,
        on_registered: Callable[[WriterSchema], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._outages = outages or OutageRetrier("the schema registry")
        self._on_registered = on_registered

    async def prepare(self, *, register: bool, compatibility: Literal["backward", "keep"]) -> dict[int, WriterSchema]:
        """Make sure that all schemas of streamapp are registered; return them by version.

        A version under the subject that has the same Parsing Canonical Form counts as registered.

        Raises:
            SettingsError: the registry refuses a schema, or a schema is missing and `register` is False, or the
                subject has only schemas of others.
        """
        registered: dict[int, WriterSchema] = {}
        for version in VERSIONS:
            registered[version] = await self._outages.run(lambda v=version: self._ensure(v, register=register))
            if version == 1 and register and compatibility == "backward":
                # After V1, since some registries have no level for a subject without versions; before V2, so that the
                # registry checks V2.
                await self._outages.run(self._ensure_compatibility)
        return registered

    async def _ensure(self, version: int, *, register: bool) -> WriterSchema:
        schema = event.schema(version)
        try:
            found = await self._client.find_version(schema)
        except NoConfluentApi as exc:
            raise SettingsError(str(exc)) from exc
        if found is None and version == VERSIONS[0] and await self._is_of_others():
            message = (
                f"{self._client.subject} has only schemas of other producers. streamapp does not register its sample"
                " schemas there. To send sample events, set another STREAMAPP_TOPIC, which has its own subject"
            )
            raise SettingsError(message)
        if found is None and not register:
            message = (
                f"user_event_v{version}.avsc is not registered under {self._client.subject}, and"
                " STREAMAPP_REGISTER_SCHEMAS is false. Register it, or set STREAMAPP_REGISTER_SCHEMAS=true"
            )
            raise SettingsError(message)
        if found is None:
            found = await self._register(schema, version)
        writer = writer_schema(schema, schema_id=found.schema_id, version=f"v{found.version}")
        self._on_registered(writer)
        return writer

    async def _is_of_others(self) -> bool:
        """Whether a subject without the first schema has versions, and none is a later schema of this repository."""
        if not await self._client.versions():
            return False
        for version in VERSIONS[1:]:
            if await self._client.find_version(event.schema(version)):
                return False
        return True

    async def _register(self, schema: Schema, version: int) -> RegisteredVersion:
        refusal: ErrorResponse | None = None
        try:
            await self._client.register(schema)
        except ErrorResponse as exc:
            if exc.is_transient:
                raise
            refusal = exc
        # Also after a refusal: another client may have registered the same schema at the same time.
        found = await self._client.find_version(schema)
        if found is not None:
            return found
        subject, url = self._client.subject, self._client.url
        if refusal is None:
            message = f"the registry does not list the new version of {subject} yet"
            raise RegistryUnavailable(message)
        message = (
            f"the registry at {url} refuses user_event_v{version}.avsc under {subject}: {refusal.reason}"
            f" ({refusal.status}). Compare the schema with the versions of {subject}"
        )
        raise SettingsError(message) from refusal

    async def _ensure_compatibility(self) -> None:
        if await self._client.compatibility_level() != "NONE":
            return
        try:
            await self._client.set_compatibility_level("BACKWARD")
        except ErrorResponse:
            # Apicurio answers 409 if another client has set a level at the same time.
            if await self._client.compatibility_level() == "NONE":
                raise
