"""`streamapp send-sample`: sample events into the topic, acknowledged, at full speed or at a rate."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import click
from confluent_kafka import KafkaError, Message, Producer

from streamapp import faults, ground, sampler
from streamapp.broker import Broker, silent
from streamapp.codec import EventCodec
from streamapp.commands.options import instant, json_option, load_settings, report, told
from streamapp.commands.progress import paced, progress
from streamapp.errors import BrokerUnavailable
from streamapp.faults import REASONS, Fault, Faults, Ground
from streamapp.registry import Registry
from streamapp.retry import NoPatience
from streamapp.sampler import Sample
from streamapp.settings import Settings

#: Seconds until an event that nobody acknowledges counts as not sent.
_DELIVERY_TIMEOUT = 30.0
#: Events per second that `--start` counts its times with where no rate is given: one every 2 s.
_DEFAULT_RATE = 0.5
_INTERRUPTED = 130


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A record to send."""

    key: str
    value: bytes | None
    #: Schema version of its event.
    version: int
    #: What is wrong with it on purpose; None: nothing.
    fault: Fault | None = None


@dataclass(slots=True)
class Tally:
    """What became of it."""

    #: By schema version and fault.
    sent: Counter[tuple[int, Fault | None]] = field(default_factory=Counter[tuple[int, Fault | None]])
    acknowledged: int = 0
    error: str | None = None
    interrupted: bool = False

    def to_be_stored(self, version: int) -> int:
        """Good events of a schema version."""
        return sum(n for (its, fault), n in self.sent.items() if its == version and fault not in REASONS)

    def with_fault(self, fault: Fault) -> int:
        """Records with a fault."""
        return sum(n for (_, its), n in self.sent.items() if its is fault)

    def note(self, error: KafkaError | None, _: Message | None) -> None:
        """Count one delivery."""
        if error is None:
            self.acknowledged += 1
        else:
            self.error = error.str()


def _shares(_context: click.Context, parameter: click.Parameter, text: str | None) -> Mapping[Fault, float]:
    try:
        return {} if text is None else faults.parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=parameter) from None


@click.command("send-sample")
@click.option("--count", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="Events to send.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second; the default is full speed.")
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
    as_json: bool,
) -> None:
    """Send sample events to the topic and wait until Kafka has acknowledged them."""
    settings = load_settings()
    ratio = settings.v2_ratio if v2_ratio is None else v2_ratio
    plan = Plan(
        count=count, rate=rate, seed=seed, v2_ratio=ratio, start=instant(start, option="--start"), faults=shares
    )
    codec, known = asyncio.run(_prepare(settings, shares))
    began = time.monotonic()
    tally = send(plan, codec=codec, known=known, settings=settings)
    _report(tally, shares, seconds=time.monotonic() - began, as_json=as_json)


def send(plan: Plan, *, codec: EventCodec, known: Ground, settings: Settings) -> Tally:
    """Send and wait for the acknowledgements; Ctrl-C ends it early."""
    tally = Tally()
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            # As the Java client, and so the worker's own producer, spreads keys.
            "partitioner": "murmur2_random",
            "delivery.timeout.ms": int(_DELIVERY_TIMEOUT * 1000),
            "log_level": 0,
        },
        logger=silent,
    )
    try:
        for record in _outgoing(plan, codec, known):
            _produce(producer, settings.topic, record, tally)
    except KeyboardInterrupt:
        tally.interrupted = True
    producer.flush(_DELIVERY_TIMEOUT)
    return tally


def _outgoing(plan: Plan, codec: EventCodec, known: Ground) -> Iterator[Outgoing]:
    spoilt = Faults(plan.faults, seed=plan.seed, ground=known)
    samples = islice(sampler.samples(seed=plan.seed, v2_ratio=plan.v2_ratio), plan.count)
    for index, sample in enumerate(_shown(paced(samples, plan.rate), plan.count)):
        fault = spoilt.draw()
        event = sample.event(at=spoilt.event_time(fault, plan.event_time(index)))
        value = spoilt.wire(fault, codec.dumps(event))
        key, version = sample.fields["user_id"], sample.version
        if fault is Fault.DUPLICATE:  # the first of the two has nothing wrong with it
            yield Outgoing(key=key, value=value, version=version)
        yield Outgoing(key=key, value=value, version=version, fault=fault)


def _produce(producer: Producer, topic: str, record: Outgoing, tally: Tally) -> None:
    while True:
        try:
            producer.produce(topic, key=record.key, value=record.value, on_delivery=tally.note)
        except BufferError:  # the queue is full: let some be delivered
            producer.poll(0.1)
        else:
            break
    tally.sent[record.version, record.fault] += 1
    producer.poll(0)


def _shown(samples: Iterator[Sample], count: int) -> Iterator[Sample]:
    with progress("sending", count) as advance:
        for done, sample in enumerate(samples, start=1):
            yield sample
            if done % 100 == 0:
                advance(100)


async def _prepare(settings: Settings, shares: Mapping[Fault, float]) -> tuple[EventCodec, Ground]:
    await Broker(settings.kafka_bootstrap_servers).ensure_topics(
        topic=settings.topic, partitions=settings.partitions, dead_letter_topic=settings.dead_letter_topic
    )
    registry = Registry(settings.schema_registry_url, settings.subject, outages=NoPatience("the schema registry"))
    ours = await registry.prepare(register=settings.register_schemas, compatibility=settings.compatibility)
    return EventCodec(ours), await ground.prepare(shares, settings=settings, registry=registry, ours=ours)


def _report(tally: Tally, shares: Mapping[Fault, float], *, seconds: float, as_json: bool) -> None:
    sent = tally.sent.total()
    facts = {
        "sent": sent,
        "acknowledged": tally.acknowledged,
        **{f"v{version}": tally.to_be_stored(version) for version in (1, 2)},
        **{fault.value: tally.with_fault(fault) for fault in shares},
        "seconds": round(seconds, 3),
    }
    report(facts, as_json=as_json)
    if tally.interrupted:
        sys.exit(_INTERRUPTED)
    if tally.acknowledged < sent:
        message = f"{sent - tally.acknowledged} events were not acknowledged: {tally.error or 'no answer in time'}"
        raise BrokerUnavailable(message)
