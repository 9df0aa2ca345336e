"""The Faust app: its topics, agents, timer and pages. The work itself is in the modules that it connects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

import click
import faust
from faust.app import base
from faust.cli.base import cli
from faust.cli.worker import worker as worker_command
from faust.serializers import codecs
from mode import CrashingSupervisor

from streamapp import settings
from streamapp.commands import root
from streamapp.connections import tls
from streamapp.errors import AssignmentLost, Permanent, SettingsError
from streamapp.monitoring.json_logs import JSON_LOGS
from streamapp.retry import OutageRetrier
from streamapp.samples import generator
from streamapp.samples.producer import Pace, SampleProducer
from streamapp.transport import uvloop_compat
from streamapp.transport.faust_codec import FaustCodec
from streamapp.transport.prefix_commits import BatchOptions
from streamapp.transport.transport import BatchTransport
from streamapp.worker import access, memory
from streamapp.worker.no_tables import NoTables
from streamapp.worker.shutdown import BoundedWorker, stop_worker

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT

    from streamapp.decode.wire_format import EventCodec
    from streamapp.worker.dependencies import WorkerDependencies
    from streamapp.worker.service import WorkerService

#: Name of the codec in Faust.
CODEC = "user_event"

# Before the first event loop exists. uvloop shortens the latency by a quarter, see docs/explanation/performance.md.
uvloop_compat.choose()


def _credentials() -> CredentialsT | None:
    if config.kafka_security_protocol == "plaintext":
        return None
    from streamapp.connections import faust_credentials  # noqa: PLC0415 - not needed for plaintext
    from streamapp.connections.kafka import KafkaConnection  # noqa: PLC0415 - likewise

    return faust_credentials.credentials(KafkaConnection.of(config))


try:
    config = settings.load()
    tls.check(config)
    credentials = _credentials()
except SettingsError as exc:
    raise click.UsageError(str(exc)) from None

web_token = config.web_token.get_secret_value() if config.web_token else None

root.extend(cli)

#: Rows of the table that Faust prints at the start, about tables: this app has none, and their folders do not exist.
_ABOUT_TABLES = frozenset({"store", "datadir", "appdir"})
_all_rows: Any = worker_command._banner_data  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


@wraps(_all_rows)
def _banner_data(self: Any, worker: Any) -> Any:
    return [row for row in _all_rows(self, worker) if row[0] not in _ABOUT_TABLES]


worker_command._banner_data = _banner_data  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
if config.log_format == "json":
    # Faust would print the table to the same stream as the log.
    worker_command.on_worker_created = lambda self, worker: None  # noqa: ARG005 - Faust's names

kafka_outages = OutageRetrier("Kafka")


@cache
def codec() -> EventCodec:
    """Return the codec of the sample events."""
    from streamapp.decode.wire_format import EventCodec  # noqa: PLC0415 - see `dependencies`

    return EventCodec()


codecs.register(CODEC, FaustCodec(codec))


@cache
def dependencies() -> WorkerDependencies:
    """Build the clients, the sink, the metrics and the readiness checks at the first call."""
    memory.limit_malloc_arenas()  # before the first thread starts
    # The import takes half a second, which `--help` and the list of agents do not need.
    from streamapp.worker.dependencies import create  # noqa: PLC0415

    return create(config, is_agent_running=_is_agent_running, kafka_outages=kafka_outages)


@cache
def service() -> WorkerService:
    """Return the service that prepares and watches the servers."""
    from streamapp.worker.service import WorkerService  # noqa: PLC0415 - see `dependencies`

    return WorkerService(dependencies(), settings=config, codec=codec())


async def _topic_id_of(topic: str) -> str | None:
    return await dependencies().clients.kafka.topic_id_of(topic)


class StartupOrder(base.BootStrategy):
    """Starts the pages first, then waits for Kafka, then starts Faust's own services in their usual order."""

    def server(self) -> Iterable[Any]:
        """Yield the services in the order in which they start."""
        yield from self.sensors()
        yield from self.web_server()
        yield service()
        yield from self.kafka_producer()
        yield from self.kafka_consumer()
        yield from self.agents()
        yield from self.kafka_conductor()
        yield from self.tables()


class App(faust.App):
    """Faust's app without tables: it creates no data folder in the working directory."""

    BootStrategy = StartupOrder

    def _create_directories(self) -> None: ...

    def _new_web(self) -> Any:
        from streamapp.worker.web import WorkerWeb  # noqa: PLC0415 - not needed for `--help` and the list of agents

        return WorkerWeb(
            self,
            allowed_hosts=[config.web_host, *(config.web_allowed_hosts or "").split(",")],
            token=web_token,
        )


app = App(
    config.app_id,
    broker=[f"kafka://{server}" for server in config.kafka_bootstrap_servers.split(",")],
    broker_credentials=credentials,
    Worker=BoundedWorker,
    TableManager=NoTables,
    logging_config=JSON_LOGS if config.log_format == "json" else None,
    web_bind=config.web_host,
    web_host=config.web_host,
    web_port=config.web_port,
    autodiscover=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    # There are no tables. With standby replicas Faust assigns the partitions itself, and its assignor fails on every
    # rebalance after a topic was re-created with fewer partitions.
    table_standby_replicas=0,
    stream_wait_empty=True,
    # Four times the maximum number of batches in flight: small batches wait a second or more for the rollups.
    stream_buffer_maxsize=16_384,
    broker_session_timeout=config.session_timeout_seconds,
    broker_max_poll_interval=config.max_poll_interval_seconds,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=1.0,
    consumer_metadata_max_age_ms=15_000,
    consumer_auto_offset_reset="earliest",
    producer_linger=0.005,
    producer_request_timeout=30.0,
    producer_compression_type=None if config.kafka_compression == "none" else config.kafka_compression or "lz4",
)
app.transport = BatchTransport(
    app.conf.broker_consumer,
    app,
    options=BatchOptions(
        topics=frozenset({config.topic}),
        topic_id_of=_topic_id_of,
        outages=kafka_outages,
        stop_worker=stop_worker,
        max_in_flight_bytes=config.max_in_flight_bytes,
        hurry=lambda seconds: dependencies().sink.hurry(seconds),  # noqa: PLW0108 - built when it is needed
        kernel=lambda: dependencies().kernel,
    ),
)
BoundedWorker.deadline = config.shutdown_deadline_seconds

events = app.topic(config.topic, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
samples = app.topic(config.topic, key_type=str, key_serializer="raw", value_serializer=CODEC)


@app.agent(events, concurrency=1, supervisor_strategy=CrashingSupervisor)
async def store_events(stream: Any) -> None:
    """Settle batches concurrently, and ack each batch once all of its records have their fate."""
    async with asyncio.TaskGroup() as group:
        async for event in stream.noack().events():
            task = group.create_task(_settle(event))
            _settling.add(task)
            task.add_done_callback(_settling.discard)


async def _settle(event: Any) -> None:
    try:
        await dependencies().sink.settle(event.value)
    except (Permanent, SettingsError) as exc:
        stop_worker(str(exc))
    except AssignmentLost:
        pass  # no ack: Kafka delivers the records again
    else:
        event.ack()


_settling: set[asyncio.Task[None]] = set()


def _is_agent_running() -> bool:
    agent: Any = store_events
    tasks = [actor.actor_task for actor in agent._actors]  # noqa: SLF001 - Faust has no public name for it
    return any(task is not None and not task.done() for task in tasks)


@app.on_partitions_revoked.connect
async def drop_batches(*_: object, **__: object) -> None:
    """Cancel the batches of the old assignment: Kafka delivers them again, and in an outage they would accumulate."""
    dependencies().state.revoked()
    for task in _settling:
        task.cancel()


@app.on_partitions_assigned.connect  # pyright: ignore[reportArgumentType] - its type forbids a handler with keywords
async def record_assignment(_: object, assigned: Any, **__: object) -> None:
    """Record the assignment for /readyz and /metrics."""
    dependencies().state.assigned(len(assigned))


@app.task
async def monitor() -> None:
    """Write the heartbeat and watch for stalled partitions."""
    if not app.should_stop:  # Faust starts its tasks even after a signal that came before the consumer started
        consumer: Any = app.consumer
        await service().monitor(consumer)


producer = SampleProducer(
    generator.samples(seed=None, v2_ratio=config.v2_ratio),
    pace=Pace(config.produce_interval_seconds),
    send=lambda user_id, event: samples.send(key=user_id.encode(), value=event),
    outages=kafka_outages,
)
ticks = app.channel(maxsize=1)


@app.agent(ticks, concurrency=1)
async def produce_events(stream: Any) -> None:
    """Send the sample events that are due, once their schemas are registered."""
    await service().registered.wait()
    producer.is_idle = True
    async for now in stream:
        await producer.produce_due(now)


if config.produce_interval_seconds:

    @app.timer(interval=max(config.produce_interval_seconds, 0.1))  # pyright: ignore[reportUntypedFunctionDecorator]
    async def tick() -> None:
        """Wake the producer, unless it is still sending; it then catches up at the next tick."""
        if producer.is_idle:
            await ticks.put(time.monotonic())  # pyright: ignore[reportArgumentType] - a channel takes any value


@app.page("/healthz")
async def healthz(self: Any, _: Any) -> Any:
    """Answer 200 while the worker runs."""
    return self.json({"status": "ok"})


@app.page("/readyz")
async def readyz(self: Any, request: Any) -> Any:
    """Answer 200 if the worker can store events now, else 503 with the reason."""
    ready, states = dependencies().readiness.report()
    if not access.is_authorized(request.headers.get("Authorization", ""), web_token):
        states = {}
    return self.json({"ready": ready, **states}, status=200 if ready else 503)


@app.page("/metrics")
async def metrics(self: Any, _: Any) -> Any:
    """Answer with the metrics for Prometheus."""
    page = dependencies().metrics
    return self.bytes(page.render(), headers={"Content-Type": page.CONTENT_TYPE})
