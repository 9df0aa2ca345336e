"""What the agents need from outside, made ready before they start: Kafka's topics, the registry, MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from mode import Service

from streamapp import __version__
from streamapp.decode.document import EventTimes
from streamapp.decode.wire_format import EventCodec
from streamapp.decode.writer_schema import WriterSchema, canonical_form
from streamapp.errors import SettingsError
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.model import event
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.monitoring.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from streamapp.monitoring.metrics import Metrics, Transport
from streamapp.monitoring.readiness import ASK_EVERY, FRESH_FOR, Dependency, DependencyStatus, Readiness, Waiting
from streamapp.registry.client import Registry
from streamapp.retry import OutageRetrier
from streamapp.rollups.writer import RollupWriter
from streamapp.settings import Settings
from streamapp.sink.circuit_breaker import CircuitBreaker
from streamapp.sink.ports import SinkOutages, SinkPorts
from streamapp.sink.settle import Sink
from streamapp.worker import memory
from streamapp.worker.shutdown import give_up


class WorkerDependencies(Service):
    """Starts once Kafka is there; the registry and MongoDB may come later, whoever needs them waits."""

    sink: Sink

    def __init__(
        self, settings: Settings, codec: EventCodec, readiness: Readiness, broker_outages: OutageRetrier
    ) -> None:
        super().__init__()
        self.registered = asyncio.Event()
        self._settings = settings
        self._codec = codec
        self._readiness = readiness
        self._store_outages = OutageRetrier("MongoDB")
        self._broker_outages = broker_outages
        self._registry_outages = OutageRetrier("the schema registry")
        self._dead_letter_outages = OutageRetrier(f"the dead-letter topic {settings.dead_letter_topic}")
        self.metrics = Metrics(
            version=__version__,
            readiness=readiness,
            outages={
                "mongodb": self._store_outages,
                "schema_registry": self._registry_outages,
                "kafka": self._broker_outages,
                "dead_letters": self._dead_letter_outages,
            },
        )
        self._learned: asyncio.Queue[WriterSchema] = asyncio.Queue()
        self._writes = DependencyStatus(name="mongodb_writes", fresh_for=HEARTBEAT_SECONDS + FRESH_FOR)
        #: Of what has been opened: the stop may come before the start has got far.
        self._closes: list[Callable[[], None]] = []

    async def on_start(self) -> None:
        """Wait for Kafka, since Faust's consumer and producer would give up without it."""
        memory.relax_gc()
        settings = self._settings
        self._broker = KafkaAdmin(settings.kafka_bootstrap_servers)
        self._mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
        self._closes.append(self._mongo.close)
        self._store = EventStore(self._mongo)
        self._rollups = RollupStore(self._mongo, keep=settings.keep)
        self._registry = Registry(
            settings.schema_registry_url,
            settings.subject,
            on_learned=self._learned.put_nowait,
            outages=self._registry_outages,
        )
        self._closes.append(self._registry.close)
        self._dead_letters = DeadLetterProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, topic=settings.dead_letter_topic
        )
        self._closes.append(self._dead_letters.close)
        self.sink = self._make_sink()
        self.metrics.fates = lambda: self.sink.fates
        self._dependencies = (
            Dependency(name="mongodb", ping=self._mongo.ping, outages=[self._store_outages]),
            Dependency(name="schema_registry", ping=self._registry.ping, outages=[self._registry_outages]),
            Dependency(name="kafka", ping=self._broker.ping, outages=[self._broker_outages]),
        )
        dead_letters = Waiting("dead_letters", [self._dead_letter_outages])
        self._readiness.parts = (*self._dependencies, self._writes, dead_letters)
        for background in (self._ask_dependencies(), self._prepare_registry(), self._prepare_store()):
            self.add_future(background)
        await self.wait(self._have_topics())

    async def on_stop(self) -> None:
        """Let go of MongoDB, the registry and the dead-letter topic; what is under way there is not acked."""
        for close in self._closes:
            close()

    async def topic_id_of(self, topic: str) -> str | None:
        """The topic's UUID; see `Broker.incarnation_of`."""
        return await self._broker.topic_id_of(topic)

    async def beat(self, consumer: Transport) -> None:
        """Write `pipeline_state` and look whether all moves, until cancelled."""
        self.metrics.consumer = consumer
        heartbeat = Heartbeat(
            self._mongo,
            consumer=consumer,
            fates=lambda: self.sink.fates,
            latencies=self.metrics.latencies,
            note=self._writes.note,
        )
        await asyncio.gather(heartbeat.run(), self._look(consumer))

    async def _look(self, consumer: Transport) -> None:
        while True:
            self._readiness.stall_detector.look(consumer.progress(), self._readiness.clock())
            await asyncio.sleep(ASK_EVERY)

    def _make_sink(self) -> Sink:
        settings = self._settings
        times = EventTimes.of(settings.earliest_event_at, ahead_seconds=settings.event_ahead_seconds)
        ports = SinkPorts(
            schemas=self._registry,
            events=self._store,
            out_of_order=OutOfOrderStore(self._mongo, self._rollups, keep=settings.keep),
            dead_letters=self._dead_letters,
            observer=self.metrics,
        )
        return Sink(
            ports,
            outages=SinkOutages(store=self._store_outages, dead_letters=self._dead_letter_outages),
            rollup_writer=RollupWriter(
                self._rollups, outages=self._store_outages, keep=self._settings.keep, now=lambda: datetime.now(UTC)
            ),
            breaker=CircuitBreaker(
                failure_ratio=settings.breaker_share,
                window=settings.breaker_window_records,
                min_records=settings.breaker_least_records,
            ),
            times=times,
        )

    async def _have_topics(self) -> None:
        try:
            await self._broker_outages.run(self._prepare_topics)
        except SettingsError as exc:
            give_up(str(exc))
            await asyncio.Event().wait()  # for the stop: nothing else may start without the topics

    async def _prepare_topics(self) -> None:
        limit = await self._broker.ensure_topics(
            topic=self._settings.topic,
            partitions=self._settings.partitions,
            dead_letter_topic=self._settings.dead_letter_topic,
        )
        self._dead_letters.open(max_message_bytes=limit)

    async def _prepare_registry(self) -> None:
        try:
            ours = await self._registry.prepare(
                register=self._settings.register_schemas, compatibility=self._settings.compatibility
            )
        except SettingsError as exc:
            give_up(str(exc))
        else:
            self._codec.know(ours)
            self.registered.set()

    async def _prepare_store(self) -> None:
        try:
            await self._store_outages.run(self._store.prepare)
            await self._store_outages.run(self._rollups.prepare)
        except SettingsError as exc:
            give_up(str(exc))
        else:
            await self._note_schemas()

    async def _note_schemas(self) -> None:
        v2 = canonical_form(event.schema(2))
        while True:
            writer = await self._learned.get()
            await self._store_outages.run(lambda w=writer: self._note(w, is_v2=w.canonical == v2))

    def _note(self, writer: WriterSchema, *, is_v2: bool) -> Awaitable[None]:
        return self._store.note_schema(writer, subject=self._settings.subject, is_v2=is_v2)

    async def _ask_dependencies(self) -> None:
        while not self.should_stop:
            await asyncio.gather(*(dependency.ask() for dependency in self._dependencies))
            await self.sleep(ASK_EVERY)
