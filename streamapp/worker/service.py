"""Prepare the servers at the start of a worker, watch them while it runs, and close the clients at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

from mode import Service

from streamapp.decode.wire_format import EventCodec
from streamapp.decode.writer_schema import WriterSchema, canonical_form
from streamapp.errors import SettingsError
from streamapp.model import event
from streamapp.model.user_event import VERSION_FLAGS
from streamapp.monitoring.consumer import Consumer, MeteredConsumer
from streamapp.monitoring.readiness import PING_INTERVAL_SECONDS, Dependency
from streamapp.registry.registration import SchemaRegistration
from streamapp.retry import OutageRetrier
from streamapp.settings import Settings
from streamapp.worker import memory, sample_schemas
from streamapp.worker.dependencies import WorkerDependencies
from streamapp.worker.shutdown import stop_worker


class WorkerService(Service):
    """Starts once Kafka's topics exist; the registry and MongoDB are prepared in the background."""

    def __init__(self, dependencies: WorkerDependencies, *, settings: Settings, codec: EventCodec) -> None:
        super().__init__()
        #: Set once the sample schemas are registered.
        self.registered = asyncio.Event()
        self._dependencies = dependencies
        self._clients = dependencies.clients
        self._retriers = dependencies.retriers
        self._registration = SchemaRegistration(
            self._clients.registry,
            # Not the retrier of /readyz: consuming does not depend on the sample producer and its rights.
            outages=OutageRetrier("the schema registry (for the sample producer)"),
            on_registered=self._clients.schemas.add,
        )
        self._settings = settings
        self._codec = codec

    async def on_start(self) -> None:
        """Wait for Kafka: Faust's consumer and producer, which start next, fail without it."""
        memory.relax_gc()
        # Each for itself: one that does not answer must not delay the others.
        pings = map(self._ping, self._dependencies.servers)
        backgrounds = (self._prepare_registry(), self._prepare_store(), self._follow_latest_schema())
        for background in (*pings, *backgrounds):
            self.add_future(background)
        await self.wait(self._prepare_topics())

    async def on_stop(self) -> None:
        """Close the clients; operations that are under way fail, and their batches are not acked."""
        self._clients.close()

    async def monitor(self, consumer: MeteredConsumer) -> None:
        """Write the heartbeat and the subject's level, and observe the consumer's progress, until cancelled."""
        self._dependencies.state.consumer = consumer
        await asyncio.gather(
            self._dependencies.heartbeat(consumer).run(),
            self._dependencies.subject_level.run(),
            self._observe(consumer),
        )

    async def _observe(self, consumer: Consumer) -> None:
        readiness = self._dependencies.readiness
        while True:
            readiness.stall_detector.observe(consumer.progress(), readiness.clock())
            await asyncio.sleep(PING_INTERVAL_SECONDS)

    async def _ping(self, server: Dependency) -> None:
        while not self.should_stop:
            await server.check()
            await self.sleep(PING_INTERVAL_SECONDS)

    async def _prepare_topics(self) -> None:
        try:
            await self._retriers.kafka.run(self._ensure_topics)
        except SettingsError as exc:
            stop_worker(str(exc))
            await asyncio.Event().wait()  # until the worker stops: nothing else may start without the topics

    async def _ensure_topics(self) -> None:
        limit = await self._create_missing_topics()
        self._clients.dead_letters.open(max_message_bytes=limit, create_topic=self._create_missing_topics)

    async def _create_missing_topics(self) -> int:
        return await self._clients.kafka.ensure_topics(
            topic=self._settings.topic,
            partitions=self._settings.partitions,
            dead_letter_topic=self._settings.dead_letter_topic,
        )

    async def _prepare_registry(self) -> None:
        if schemas := await sample_schemas.prepare(self._registration, self._settings):
            self._codec.know(schemas)
            self.registered.set()

    async def _follow_latest_schema(self) -> None:
        try:
            await self._clients.latest_schema.follow()
        except SettingsError as exc:
            stop_worker(str(exc))

    async def _prepare_store(self) -> None:
        try:
            for store in (self._clients.event_store, self._clients.event_retention, self._clients.rollup_store):
                await self._retriers.mongodb.run(store.prepare)
        except SettingsError as exc:
            stop_worker(str(exc))
        else:
            await self._write_schemas()

    async def _write_schemas(self) -> None:
        flagged = {flag: canonical_form(event.schema(version)) for version, flag in VERSION_FLAGS.items()}
        while True:
            writer = await self._dependencies.new_schemas.get()
            flags = {flag: writer.canonical == canonical for flag, canonical in flagged.items()}
            await self._retriers.mongodb.run(lambda w=writer, f=flags: self._write_schema(w, f))

    def _write_schema(self, writer: WriterSchema, flags: Mapping[str, bool]) -> Awaitable[None]:
        return self._clients.event_store.note_schema(writer, subject=self._settings.subject, flags=flags)
