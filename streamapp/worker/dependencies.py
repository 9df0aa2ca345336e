"""Build the objects that a worker needs: clients, sink, metrics and readiness checks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from streamapp import __version__
from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.decode.document import EventTimes
from streamapp.decode.kernel import Kernel, chosen, decoder
from streamapp.decode.writer_schema import WriterSchema
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.model.stored_headers import header_fields
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_retention import EventRetention
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.monitoring.consumer import Consumer, ConsumerState
from streamapp.monitoring.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from streamapp.monitoring.metrics import MetricsPage
from streamapp.monitoring.readiness import (
    ANSWER_VALID_SECONDS,
    Dependency,
    DependencyStatus,
    OutageCheck,
    Readiness,
)
from streamapp.monitoring.sink_metrics import SinkMetrics
from streamapp.monitoring.subject_level import SubjectLevel
from streamapp.registry.cache import SchemaCache
from streamapp.registry.canonical_schemas import CanonicalSchemas
from streamapp.registry.client import RegistryClient
from streamapp.registry.latest_schema import EventSchema, LatestSchema
from streamapp.retry import OutageRetrier
from streamapp.rollups.writer import RollupWriter
from streamapp.settings import Settings
from streamapp.sink.circuit_breaker import CircuitBreaker
from streamapp.sink.ports import SinkOutages, SinkPorts
from streamapp.sink.settle import Sink

#: The share of the bytes in flight that may wait for the rollups. They count 2.5 times, so that is a third.
_WAITING_SHARE = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriers:
    """The retriers of one worker, one per dependency."""

    kafka: OutageRetrier
    registry: OutageRetrier
    mongodb: OutageRetrier
    dead_letters: OutageRetrier


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The clients of one worker; none connects before its first call."""

    kafka: KafkaAdmin
    registry: RegistryClient
    schemas: SchemaCache
    latest_schema: LatestSchema
    mongo: Mongo
    event_store: EventStore
    event_retention: EventRetention
    rollup_store: RollupStore
    dead_letters: DeadLetterProducer

    def close(self) -> None:
        """Close the connections; calls that are under way are not waited for."""
        for client in (self.mongo, self.registry, self.dead_letters):
            client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDependencies:
    """The objects that the agents and the pages of one worker use."""

    clients: Clients
    retriers: Retriers
    #: Schemas that the cache has read for the first time, to be written to `schema_versions`.
    new_schemas: asyncio.Queue[WriterSchema]
    #: The servers that /readyz reports on.
    servers: tuple[Dependency, ...]
    heartbeat_status: DependencyStatus
    subject_level: SubjectLevel
    state: ConsumerState
    readiness: Readiness
    sink_metrics: SinkMetrics
    sink: Sink
    metrics: MetricsPage
    #: What finds the records in the bytes of a batch, and makes their documents; None: Python does.
    kernel: Kernel | None

    def heartbeat(self, consumer: Consumer) -> Heartbeat:
        """Return the heartbeat of this worker."""
        return Heartbeat(
            self.clients.mongo,
            consumer=consumer,
            fates=lambda: self.sink.fates,
            latencies=self.sink_metrics.latencies,
            record=self.heartbeat_status.record,
        )


def create(
    settings: Settings, *, is_agent_running: Callable[[], bool], kafka_outages: OutageRetrier
) -> WorkerDependencies:
    """Build all dependencies of a worker; connects to nothing."""
    retriers = _retriers(settings, kafka_outages)
    new_schemas = asyncio.Queue[WriterSchema]()
    clients = _clients(settings, retriers, on_learned=new_schemas.put_nowait)
    servers = _servers(clients, retriers)
    heartbeat_status = DependencyStatus(
        name="mongodb_writes", answer_valid_seconds=HEARTBEAT_SECONDS + ANSWER_VALID_SECONDS
    )
    state, sink_metrics = ConsumerState(), SinkMetrics()
    readiness = Readiness(
        state=state,
        is_agent_running=is_agent_running,
        checks=(*servers, heartbeat_status, OutageCheck("dead_letters", [retriers.dead_letters])),
    )
    kernel = chosen(is_wanted=settings.compiled_decoder)
    sink = _sink(settings, clients, retriers, sink_metrics, kernel)
    return WorkerDependencies(
        clients=clients,
        retriers=retriers,
        new_schemas=new_schemas,
        servers=servers,
        heartbeat_status=heartbeat_status,
        subject_level=SubjectLevel(clients.mongo, subject=settings.subject, read=clients.registry.effective_level),
        state=state,
        readiness=readiness,
        sink_metrics=sink_metrics,
        sink=sink,
        kernel=kernel,
        metrics=MetricsPage(
            version=__version__,
            decoder=decoder(kernel),
            sink=sink_metrics,
            fates=lambda: sink.fates,
            state=state,
            readiness=readiness,
            outages={
                "mongodb": retriers.mongodb,
                "schema_registry": retriers.registry,
                "kafka": retriers.kafka,
                "dead_letters": retriers.dead_letters,
            },
        ),
    )


def _retriers(settings: Settings, kafka: OutageRetrier) -> Retriers:
    return Retriers(
        kafka=kafka,
        registry=OutageRetrier("the schema registry"),
        mongodb=OutageRetrier("MongoDB"),
        dead_letters=OutageRetrier(f"the dead-letter topic {settings.dead_letter_topic}"),
    )


def _clients(settings: Settings, retriers: Retriers, *, on_learned: Callable[[WriterSchema], None]) -> Clients:
    mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
    registry = RegistryClient(RegistryConnection.of(settings), settings.subject)
    kafka, event_store = KafkaConnection.of(settings), EventStore(mongo)
    schemas = SchemaCache(registry, outages=retriers.registry, on_learned=on_learned)

    async def note(latest: EventSchema) -> None:
        if settings.canonical:
            texts = latest.version, latest.texts
            await retriers.mongodb.run(lambda: event_store.note_canonical(settings.subject, *texts))

    return Clients(
        kafka=KafkaAdmin(kafka),
        registry=registry,
        schemas=schemas,
        latest_schema=LatestSchema(registry, outages=retriers.registry, note=note, on_change=schemas.revalidate),
        mongo=mongo,
        event_store=event_store,
        event_retention=EventRetention(mongo, days=settings.events_retention_days),
        rollup_store=RollupStore(mongo, keep=settings.keep),
        dead_letters=DeadLetterProducer(
            connection=kafka,
            topic=settings.dead_letter_topic,
            signing_key=settings.signing_key,
        ),
    )


def _servers(clients: Clients, retriers: Retriers) -> tuple[Dependency, ...]:
    return (
        Dependency(name="mongodb", ping=clients.mongo.ping, outages=[retriers.mongodb]),
        Dependency(name="schema_registry", ping=clients.registry.ping, outages=[retriers.registry]),
        Dependency(name="kafka", ping=clients.kafka.ping, outages=[retriers.kafka]),
    )


def _sink(
    settings: Settings, clients: Clients, retriers: Retriers, observer: SinkMetrics, kernel: Kernel | None
) -> Sink:
    schemas = clients.schemas
    ports = SinkPorts(
        schemas=CanonicalSchemas(schemas, clients.latest_schema) if settings.canonical else schemas,
        events=clients.event_store,
        out_of_order=OutOfOrderStore(clients.mongo, clients.rollup_store, keep=settings.keep),
        dead_letters=clients.dead_letters,
        observer=observer,
        signing_key=settings.signing_key,
    )
    return Sink(
        ports,
        outages=SinkOutages(store=retriers.mongodb, dead_letters=retriers.dead_letters),
        rollup_writer=RollupWriter(
            clients.rollup_store,
            outages=retriers.mongodb,
            keep=settings.keep,
            now=lambda: datetime.now(UTC),
            max_waiting_bytes=int(settings.max_in_flight_bytes * _WAITING_SHARE),
        ),
        breaker=CircuitBreaker(
            failure_ratio=settings.breaker_failure_ratio,
            window=settings.breaker_window_records,
            min_records=settings.breaker_min_records,
        ),
        times=EventTimes.of(settings.min_event_time, ahead_seconds=settings.max_event_lead_seconds),
        kernel=kernel,
        header_fields=header_fields(settings.stored_headers),
    )
