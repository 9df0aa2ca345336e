"""`streamapp send-sample`: sample events into the topic, acknowledged, at full speed or at a rate."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click
from confluent_kafka import KafkaError, Message, Producer

from streamapp.commands.interrupts import Interrupted, Interrupts
from streamapp.commands.options import instant, json_option, load_settings, report, told
from streamapp.commands.progress import pace, paced, progress
from streamapp.decode.wire_format import EventCodec
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import BrokerUnavailable, SettingsError
from streamapp.kafka.admin import KafkaAdmin, silent_logger
from streamapp.registry.client import RegistryClient
from streamapp.registry.registration import SchemaRegistration
from streamapp.retry import NoRetry
from streamapp.samples import fault_context, faults, generator
from streamapp.samples.faults import REASONS, Fault, FaultContext, Faults
from streamapp.samples.generator import Sample
from streamapp.settings import Settings
from streamapp.verify import manifest_file
from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, NoManifestError

#: Seconds until an event that nobody acknowledges counts as not sent.
_DELIVERY_TIMEOUT = 30.0
#: Events per second that `--start` counts its times with where no rate is given: one every 2 s.
_DEFAULT_RATE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send."""

    count: int
    #: Events per second; None means as fast as it goes.
    rate: float | None
    seed: int | None
    v2_ratio: float
    #: Event time of the first event; None means the time of sending.
    start: datetime | None
    #: Shares of samples to spoil.
    faults: Mapping[Fault, float]

    def event_time(self, index: int) -> int:
        """Event time of the event number `index`, in milliseconds since the epoch."""
        if self.start is None:
            return int(time.time() * 1000)
        return int(self.start.timestamp() * 1000 + index * 1000 / (self.rate or _DEFAULT_RATE))


class Outgoing(NamedTuple):
    """A record to send."""

    key: str
    value: bytes | None
    #: Schema version of its event.
    version: int
    #: What its event is stored as.
    event: Mapping[str, Any]
    #: What is wrong with it on purpose; None: nothing.
    fault: Fault | None = None


@dataclass(slots=True)
class PendingCounts:
    """What became of it."""

    #: By schema version and fault.
    sent: Counter[tuple[int, Fault | None]] = field(default_factory=Counter[tuple[int, Fault | None]])
    #: Not acknowledged after all was tried, and after it was waited for the last ones.
    failed: int = 0
    left: int = 0
    error: str | None = None
    #: What a signal has asked to end with.
    exit_code: int = 0
    #: For a ledger: what was sent, and what the registry calls our versions.
    run: Manifest | None = None
    labels: Mapping[int, str] = field(default_factory=dict[int, str])

    @property
    def acknowledged(self) -> int:
        """Those that Kafka has, once nothing is under way any more."""
        return self.sent.total() - self.failed - self.left

    def to_be_stored(self, version: int) -> int:
        """Good events of a schema version."""
        return sum(n for (its, fault), n in self.sent.items() if its == version and fault not in REASONS)

    def with_fault(self, fault: Fault) -> int:
        """Records with a fault."""
        return sum(n for (_, its), n in self.sent.items() if its is fault)

    def note(self, error: KafkaError | None, _: Message | None) -> None:
        """Note how one delivery ended."""
        if error is not None:
            self.failed += 1
            self.error = error.str()

    def noting(self, record: Outgoing) -> Callable[[KafkaError | None, Message | None], None]:
        """What notes the delivery of this record, and enters it in the ledger, if there is one."""
        run = self.run
        if run is None:
            return self.note
        is_bad = record.fault in REASONS
        kind = str(record.fault) if is_bad else self.labels[record.version]
        content = manifest.value_content(record.value) if is_bad else manifest.event_content(record.event)

        def note(error: KafkaError | None, message: Message | None) -> None:
            self.note(error, message)
            if error is None and message is not None:
                run.add(message.partition() or 0, kind, message.offset() or 0, content)

        return note


def _shares(_context: click.Context, parameter: click.Parameter, text: str | None) -> Mapping[Fault, float]:
    try:
        return {} if text is None else faults.parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=parameter) from None


def _ledger(_context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that cannot be added to, before anything is sent."""
    try:
        if path:
            manifest_file.try_out(path)
    except (OSError, NoManifestError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise click.BadParameter(f"{path}: {why}", param=parameter) from None
    return path


@click.command("send-sample")
@click.option("--count", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="Events to send.")
@click.option("--rate", type=pace, help="Events a second; the default is full speed.")
@click.option("--seed", type=int, help="Repeats users, types, devices, locations, browsers, versions and order.")
@click.option("--v2-ratio", type=click.FloatRange(0, 1), help="Share of events with schema V2.  [default: 0.7]")
@click.option("--start", help="Event time of the first event, ISO 8601; the others follow by 1/rate.")
@click.option(
    "--faults",
    "shares",
    callback=_shares,
    metavar="NAME=SHARE,…",
    help=f"Spoil these shares of the events, for a drill: {', '.join(Fault)}.",
)
@click.option(
    "--manifest",
    "--ledger",
    "manifest",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_ledger,
    help="Add to this file what was sent, for `streamapp verify --manifest`.",
)
@json_option
@told
def command(  # noqa: PLR0913 - its options
    *,
    count: int,
    rate: float | None,
    seed: int | None,
    v2_ratio: float | None,
    start: str | None,
    shares: Mapping[Fault, float],
    manifest: Path | None,
    as_json: bool,
) -> None:
    """Send sample events to the topic and wait until Kafka has acknowledged them."""
    settings = load_settings()
    ratio = settings.v2_ratio if v2_ratio is None else v2_ratio
    plan = Plan(
        count=count, rate=rate, seed=seed, v2_ratio=ratio, start=instant(start, option="--start"), faults=shares
    )
    ours, known = asyncio.run(_prepare(settings, shares))
    pending = PendingCounts(labels={version: writer.version for version, writer in ours.items()})
    if manifest:
        pending.run = asyncio.run(_begun(settings))
    began = time.monotonic()
    producer = new_producer(settings.kafka_bootstrap_servers, tells_all=manifest is not None)
    records = _outgoing(plan, EventCodec(ours), known)
    with Interrupts() as interrupts:
        send(records, pending, producer=producer, topic=settings.topic, interrupts=interrupts)
        if manifest and pending.run:
            _enter(manifest, pending.run, unacknowledged=pending.sent.total() - pending.acknowledged)
    _report(pending, shares, seconds=time.monotonic() - began, as_json=as_json)


def send(
    records: Iterable[Outgoing], pending: PendingCounts, *, producer: Producer, topic: str, interrupts: Interrupts
) -> None:
    """Send and wait for the acknowledgements; a signal ends it early, and has no effect afterwards."""
    try:
        for record in records:
            interrupts.hold()  # what is acknowledged meanwhile is noted as a whole
            _produce(producer, topic, record, pending)
            interrupts.let_go()
        interrupts.ignore()
    except Interrupted as exc:
        pending.exit_code = exc.exit_code
    left = producer.flush(_DELIVERY_TIMEOUT)
    # A failure that is about to be told counts twice there.
    pending.left = min(left, pending.sent.total() - pending.failed)


def new_producer(servers: str, *, tells_all: bool) -> Producer:
    """A fast one, whose deliveries are told: all of them, or those that fail."""
    return Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            # As the Java client, and so the worker's own producer, spreads keys.
            "partitioner": "murmur2_random",
            "delivery.timeout.ms": int(_DELIVERY_TIMEOUT * 1000),
            "delivery.report.only.error": not tells_all,
            "log_level": 0,
        },
        logger=silent_logger,
    )


def _outgoing(plan: Plan, codec: EventCodec, known: FaultContext) -> Iterator[Outgoing]:
    spoilt = Faults(plan.faults, seed=plan.seed, context=known)
    samples = islice(generator.samples(seed=plan.seed, v2_ratio=plan.v2_ratio), plan.count)
    for index, sample in enumerate(_shown(paced(samples, plan.rate), plan.count)):
        fault = spoilt.draw()
        event = sample.event(at=spoilt.event_time(fault, plan.event_time(index)))
        value = spoilt.wire(fault, codec.dumps(event))
        key, version = sample.fields["user_id"], sample.version
        if fault is Fault.DUPLICATE:  # the first of the two has nothing wrong with it
            yield Outgoing(key=key, value=value, version=version, event=event)
        yield Outgoing(key=key, value=value, version=version, fault=fault, event=event)


def _produce(producer: Producer, topic: str, record: Outgoing, pending: PendingCounts) -> None:
    on_delivery = pending.noting(record)
    while True:
        try:
            producer.produce(topic, key=record.key, value=record.value, on_delivery=on_delivery)
        except BufferError:  # the queue is full: let some be delivered
            producer.poll(0.1)
        else:
            break
    pending.sent[record.version, record.fault] += 1
    producer.poll(0)


def _shown(samples: Iterator[Sample], count: int) -> Iterator[Sample]:
    with progress("sending", count) as advance:
        for done, sample in enumerate(samples, start=1):
            yield sample
            if done % 100 == 0:
                advance(100)


async def _prepare(
    settings: Settings, shares: Mapping[Fault, float]
) -> tuple[Mapping[int, WriterSchema], FaultContext]:
    await KafkaAdmin(settings.kafka_bootstrap_servers).ensure_topics(
        topic=settings.topic, partitions=settings.partitions, dead_letter_topic=settings.dead_letter_topic
    )
    registry = RegistryClient(settings.schema_registry_url, settings.subject)
    registration = SchemaRegistration(registry, outages=NoRetry("the schema registry"))
    ours = await registration.prepare(register=settings.register_schemas, compatibility=settings.compatibility)
    return ours, await fault_context.prepare(shares, settings=settings, registry=registry, ours=ours)


async def _begun(settings: Settings) -> Manifest:
    topic_id = await KafkaAdmin(settings.kafka_bootstrap_servers).topic_id_of(settings.topic)
    if topic_id is None:
        message = "This Kafka gives topics no UUID, by which a ledger finds again what was sent: it is older than 2.8."
        raise SettingsError(message)
    return Manifest(topic=settings.topic, topic_id=topic_id, started_at=_now())


def _enter(manifest: Path, run: Manifest, *, unacknowledged: int) -> None:
    run.ended_at, run.unacknowledged = _now(), unacknowledged
    try:
        manifest_file.append(manifest, run)
    except OSError as exc:
        raise SettingsError(f"{manifest} cannot be written: {exc.strerror}") from exc


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _report(pending: PendingCounts, shares: Mapping[Fault, float], *, seconds: float, as_json: bool) -> None:
    sent = pending.sent.total()
    facts = {
        "sent": sent,
        "acknowledged": pending.acknowledged,
        **{f"v{version}": pending.to_be_stored(version) for version in (1, 2)},
        **{fault.value: pending.with_fault(fault) for fault in shares},
        "seconds": round(seconds, 3),
    }
    report(facts, as_json=as_json)
    if pending.exit_code:
        sys.exit(pending.exit_code)
    if pending.acknowledged < sent:
        message = f"{sent - pending.acknowledged} events were not acknowledged: {pending.error or 'no answer in time'}"
        raise BrokerUnavailable(message)
