"""The Faust app: topics, agents, timer, pages. Wiring only; what happens is in the modules it wires together."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import click
import faust
from faust.app import base
from faust.cli.base import cli
from faust.cli.worker import worker as worker_command
from faust.serializers import codecs
from mode import CrashingSupervisor

from streamapp import settings
from streamapp.commands import COMMANDS, Later
from streamapp.errors import AssignmentLost, Permanent, SettingsError
from streamapp.monitoring.json_logs import JSON_LOGS
from streamapp.monitoring.readiness import Readiness
from streamapp.retry import OutageRetrier
from streamapp.samples import generator
from streamapp.samples.producer import Pace, SampleProducer
from streamapp.transport import uvloop_compat
from streamapp.transport.consumer import BatchOptions
from streamapp.transport.faust_codec import FaustCodec
from streamapp.transport.transport import BatchTransport
from streamapp.worker import memory
from streamapp.worker.shutdown import BoundedWorker, give_up

if TYPE_CHECKING:
    from streamapp.decode.wire_format import EventCodec
    from streamapp.worker.dependencies import WorkerDependencies

# They tell every request.
for talkative in ("httpx", "httpcore", "schema_registry"):
    logging.getLogger(talkative).setLevel(logging.WARNING)

#: Name of the codec in Faust.
CODEC = "user_event"

# For each agent Faust has `inspect` tell to which module the file of `faust.app.base` belongs: here it is known, or the
# paths of all modules would be resolved to find out.
getattr(inspect, "modulesbyfile", {})[base.__file__] = base.__name__

uvloop_compat.choose()

try:
    config = settings.load()
except SettingsError as exc:
    raise click.UsageError(str(exc)) from None

for name in COMMANDS:
    cli.add_command(Later(name))

if config.log_format == "json":
    # A table for people, printed to the log's stream.
    worker_command.on_worker_created = lambda self, worker: None  # noqa: ARG005 - Faust's names

readiness = Readiness()
broker_outages = OutageRetrier("Kafka")


@cache
def codec() -> EventCodec:
    """What reads and writes our events."""
    from streamapp.decode.wire_format import EventCodec  # noqa: PLC0415 - see `upstream`

    return EventCodec()


codecs.register(CODEC, FaustCodec(codec))


@cache
def dependencies() -> WorkerDependencies:
    """What the agents need from outside."""
    memory.limit_malloc_arenas()  # no service has started, nor any thread
    # Half a second of imports, for which `--help` and the list of agents need not wait.
    from streamapp.worker.dependencies import WorkerDependencies  # noqa: PLC0415

    return WorkerDependencies(config, codec(), readiness, broker_outages)


class StartupOrder(base.BootStrategy):
    """The pages answer first, then Kafka is waited for, then all else starts as Faust has it."""

    def server(self) -> Iterable[Any]:
        """Services in the order of their start."""
        yield from self.sensors()
        yield from self.web_server()
        yield dependencies()
        yield from self.kafka_producer()
        yield from self.kafka_consumer()
        yield from self.agents()
        yield from self.kafka_conductor()
        yield from self.tables()


class App(faust.App):
    """Faust's app, without the folder for tables that it would make in the current one."""

    BootStrategy = StartupOrder

    def _create_directories(self) -> None: ...


app = App(
    config.app_id,
    broker=[f"kafka://{server}" for server in config.kafka_bootstrap_servers.split(",")],
    Worker=BoundedWorker,
    logging_config=JSON_LOGS if config.log_format == "json" else None,
    web_bind=config.web_host,
    web_host=config.web_host,
    web_port=config.web_port,
    autodiscover=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    # There are no tables. With standbys Faust would assign the partitions, and fail for ever once a topic is re-created
    # with fewer of them.
    table_standby_replicas=0,
    stream_wait_empty=True,
    # Four times the batches that may be in flight: small ones wait up to a second for the rollups.
    stream_buffer_maxsize=16_384,
    broker_session_timeout=config.session_timeout_seconds,
    broker_max_poll_interval=config.max_poll_interval_seconds,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=1.0,
    consumer_metadata_max_age_ms=15_000,
    consumer_auto_offset_reset="earliest",
    producer_linger=0.005,
    producer_request_timeout=30.0,
    producer_compression_type="lz4",
)
app.transport = BatchTransport(
    app.conf.broker_consumer,
    app,
    options=BatchOptions(
        topics=frozenset({config.topic}),
        topic_id_of=lambda topic: dependencies().topic_id_of(topic),
        outages=broker_outages,
        max_in_flight_bytes=config.max_in_flight_bytes,
    ),
)
BoundedWorker.deadline = config.shutdown_deadline_seconds

events = app.topic(config.topic, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
samples = app.topic(config.topic, key_type=str, key_serializer="raw", value_serializer=CODEC)


@app.agent(events, concurrency=1, supervisor_strategy=CrashingSupervisor)
async def store_events(stream: Any) -> None:
    """Settle batches side by side, and ack each when all of its records have their fate."""
    async with asyncio.TaskGroup() as settling:
        async for event in stream.noack().events():
            task = settling.create_task(_settle(event))
            _under_way.add(task)
            task.add_done_callback(_under_way.discard)


async def _settle(event: Any) -> None:
    try:
        await dependencies().sink.settle(event.value)
    except (Permanent, SettingsError) as exc:
        give_up(str(exc))
    except AssignmentLost:
        pass  # no ack: Kafka delivers the records again
    else:
        event.ack()


_under_way: set[asyncio.Task[None]] = set()


def _is_storing() -> bool:
    agent: Any = store_events
    tasks = [actor.actor_task for actor in agent._actors]  # noqa: SLF001 - Faust does not tell otherwise
    return any(task is not None and not task.done() for task in tasks)


readiness.is_agent_running = _is_storing


@app.on_partitions_revoked.connect
async def drop_batches(*_: object, **__: object) -> None:
    """Give up batches of the old assignment, or they would pile up in an outage; they come again."""
    readiness.partitions = None
    for task in _under_way:
        task.cancel()


@app.on_partitions_assigned.connect  # pyright: ignore[reportArgumentType] - its type forbids a handler with keywords
async def note_partitions(_: object, assigned: Any, **__: object) -> None:
    """Tell /readyz and /metrics."""
    readiness.partitions = len(assigned)
    dependencies().metrics.rebalances += 1


@app.task
async def beat() -> None:
    """Tell the page how far this worker is."""
    if not app.should_stop:  # by a signal before there was a consumer: Faust starts its tasks all the same
        consumer: Any = app.consumer
        await dependencies().beat(consumer)


producer = SampleProducer(
    generator.samples(seed=None, v2_ratio=config.v2_ratio),
    pace=Pace(config.produce_interval_seconds),
    send=lambda user_id, event: samples.send(key=user_id.encode(), value=event),
    outages=broker_outages,
)
ticks = app.channel(maxsize=1)


@app.agent(ticks, concurrency=1)
async def produce_events(stream: Any) -> None:
    """Send the sample events that are due."""
    await dependencies().registered.wait()
    producer.is_idle = True
    async for now in stream:
        await producer.produce_due(now)


if config.produce_interval_seconds:

    @app.timer(interval=max(config.produce_interval_seconds, 0.1))  # pyright: ignore[reportUntypedFunctionDecorator]
    async def tick() -> None:
        """Wake the producer, unless it waits for Kafka: then it catches up by itself."""
        if producer.is_idle:
            await ticks.put(time.monotonic())  # pyright: ignore[reportArgumentType] - a channel takes any value


@app.page("/healthz")
async def healthz(self: Any, _: Any) -> Any:
    """The worker runs."""
    return self.json({"status": "ok"})


@app.page("/readyz")
async def readyz(self: Any, _: Any) -> Any:
    """Whether the worker can store events now, and if not, why."""
    ready, states = readiness.report()
    return self.json({"ready": ready, **states}, status=200 if ready else 503)


@app.page("/metrics")
async def metrics(self: Any, _: Any) -> Any:
    """What Prometheus collects."""
    told = dependencies().metrics
    return self.bytes(told.page(), headers={"Content-Type": told.CONTENT_TYPE})
