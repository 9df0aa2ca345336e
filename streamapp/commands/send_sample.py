"""`streamapp send-sample`: sample events into the topic, acknowledged, at full speed or at a rate."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import click
from confluent_kafka import KafkaError, Message, Producer

from streamapp import sampler
from streamapp.broker import Broker, silent
from streamapp.codec import EventCodec
from streamapp.commands.options import json_option, load_settings, report, told
from streamapp.commands.progress import progress
from streamapp.errors import BrokerUnavailable
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

    def event_time(self, index: int) -> int:
        """Event time of the event number `index`, in milliseconds since the epoch."""
        if self.start is None:
            return int(time.time() * 1000)
        return int(self.start.timestamp() * 1000 + index * 1000 / (self.rate or _DEFAULT_RATE))


@dataclass(slots=True)
class Tally:
    """What became of it."""

    sent: Counter[str] = field(default_factory=Counter[str])
    acknowledged: int = 0
    error: str | None = None
    interrupted: bool = False

    def note(self, error: KafkaError | None, _: Message | None) -> None:
        """Count one delivery."""
        if error is None:
            self.acknowledged += 1
        else:
            self.error = error.str()


@click.command("send-sample")
@click.option("--count", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="Events to send.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second; the default is full speed.")
@click.option("--seed", type=int, help="Repeats users, types, devices, locations, browsers, versions and order.")
@click.option("--v2-ratio", type=click.FloatRange(0, 1), help="Share of events with schema V2.  [default: 0.7]")
@click.option("--start", help="Event time of the first event, ISO 8601; the others follow by 1/rate.")
@json_option
@told
def command(  # noqa: PLR0913 - its options
    *, count: int, rate: float | None, seed: int | None, v2_ratio: float | None, start: str | None, as_json: bool
) -> None:
    """Send sample events to the topic and wait until Kafka has acknowledged them."""
    settings = load_settings()
    ratio = settings.v2_ratio if v2_ratio is None else v2_ratio
    plan = Plan(count=count, rate=rate, seed=seed, v2_ratio=ratio, start=_instant(start))
    codec = asyncio.run(_prepare(settings))
    began = time.monotonic()
    tally = send(plan, codec=codec, settings=settings)
    _report(tally, seconds=time.monotonic() - began, as_json=as_json)


def send(plan: Plan, *, codec: EventCodec, settings: Settings) -> Tally:
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
    samples = islice(sampler.samples(seed=plan.seed, v2_ratio=plan.v2_ratio), plan.count)
    try:
        for index, sample in enumerate(_shown(_paced(samples, plan.rate), plan.count)):
            _produce(producer, settings.topic, sample, codec.dumps(sample.event(at=plan.event_time(index))), tally)
    except KeyboardInterrupt:
        tally.interrupted = True
    producer.flush(_DELIVERY_TIMEOUT)
    return tally


def _produce(producer: Producer, topic: str, sample: Sample, value: bytes, tally: Tally) -> None:
    key = sample.fields["user_id"]
    while True:
        try:
            producer.produce(topic, key=key, value=value, on_delivery=tally.note)
        except BufferError:  # the queue is full: let some be delivered
            producer.poll(0.1)
        else:
            break
    tally.sent[f"v{sample.version}"] += 1
    producer.poll(0)


def _paced(samples: Iterator[Sample], rate: float | None) -> Iterator[Sample]:
    began = time.monotonic()
    for index, sample in enumerate(samples):
        if rate is not None and (wait := began + index / rate - time.monotonic()) > 0:
            time.sleep(wait)
        yield sample


def _shown(samples: Iterator[Sample], count: int) -> Iterator[Sample]:
    with progress("sending", count) as advance:
        for done, sample in enumerate(samples, start=1):
            yield sample
            if done % 100 == 0:
                advance(100)


async def _prepare(settings: Settings) -> EventCodec:
    await Broker(settings.kafka_bootstrap_servers).ensure_topics(
        topic=settings.topic, partitions=settings.partitions, dead_letter_topic=settings.dead_letter_topic
    )
    registry = Registry(settings.schema_registry_url, settings.subject, outages=NoPatience("the schema registry"))
    ours = await registry.prepare(register=settings.register_schemas, compatibility=settings.compatibility)
    return EventCodec(ours)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no ISO 8601 time. Example: 2026-01-31T12:00:00Z"
        raise click.BadParameter(message, param_hint="--start") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _report(tally: Tally, *, seconds: float, as_json: bool) -> None:
    sent = sum(tally.sent.values())
    facts = {
        "sent": sent,
        "acknowledged": tally.acknowledged,
        **{version: tally.sent[version] for version in ("v1", "v2")},
        "seconds": round(seconds, 3),
    }
    report(facts, as_json=as_json)
    if tally.interrupted:
        sys.exit(_INTERRUPTED)
    if tally.acknowledged < sent:
        message = f"{sent - tally.acknowledged} events were not acknowledged: {tally.error or 'no answer in time'}"
        raise BrokerUnavailable(message)
