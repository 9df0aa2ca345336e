"""Send sample events to the topic, some of them with faults; an event counts as sent once Kafka has acknowledged it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.connections.kafka import KafkaConnection, cause_of
from streamapp.connections.registry import RegistryConnection
from streamapp.decode.wire_format import EventCodec
from streamapp.decode.writer_schema import WriterSchema
from streamapp.kafka.admin import KafkaAdmin, silent_logger
from streamapp.model.user_event import USER
from streamapp.registry.client import RegistryClient
from streamapp.registry.registration import SchemaRegistration
from streamapp.retry import NoRetry
from streamapp.samples import fault_context, generator
from streamapp.samples.faults import REASONS, Fault, FaultContext, Faults
from streamapp.samples.generator import Sample
from streamapp.samples.rhythm import Rhythm
from streamapp.settings import Settings

#: Seconds after which an event without an acknowledgement counts as not sent.
_DELIVERY_TIMEOUT = 30.0
#: Events per second between event times if a start is given and no rate: one every 2 s.
_DEFAULT_RATE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePlan:
    """The events to send."""

    count: int
    #: Events per second; None means full speed.
    rate: float | None
    seed: int | None
    v2_ratio: float
    #: Event time of the first event; None means the time of sending.
    start: datetime | None
    #: Fraction of the events that get each fault.
    faults: Mapping[Fault, float]
    #: Schema version → headers of its records.
    headers: Mapping[int, Headers] = field(default_factory=dict[int, "Headers"])
    #: The event times of all events, in place of those that follow from start and rate.
    rhythm: Rhythm | None = None

    def event_time(self, index: int) -> int:
        """Return the event time of the event number `index`, in milliseconds since the epoch."""
        if self.rhythm is not None:
            return self.rhythm.event_time(index)
        if self.start is None:
            return int(time.time() * 1000)
        return int(self.start.timestamp() * 1000 + index * 1000 / (self.rate or _DEFAULT_RATE))


Headers = Sequence[tuple[str, bytes]]


class OutgoingRecord(NamedTuple):
    """A record to send."""

    key: str
    value: bytes | None
    #: Schema version of its event.
    version: int
    #: The event that a worker stores.
    event: Mapping[str, Any]
    fault: Fault | None = None
    headers: Headers = ()


#: Called with an acknowledged record, its partition and its offset.
OnAcknowledged = Callable[[OutgoingRecord, int, int], None]


@dataclass(slots=True)
class DeliveryCounts:
    """Counts of the records that were sent, and of their acknowledgements."""

    #: By schema version and fault.
    sent: Counter[tuple[int, Fault | None]] = field(default_factory=Counter[tuple[int, Fault | None]])
    #: Refused by Kafka, or without an answer within the delivery timeout.
    failed: int = 0
    #: Still without an answer after the last wait.
    unanswered: int = 0
    #: The last reason why Kafka did not acknowledge a record.
    error: KafkaError | None = None

    @property
    def acknowledged(self) -> int:
        """Records that Kafka has acknowledged; correct after `Sender.flush`."""
        return self.sent.total() - self.failed - self.unanswered

    @property
    def unacknowledged(self) -> int:
        """Records that Kafka has not acknowledged; correct after `Sender.flush`."""
        return self.failed + self.unanswered

    def storable(self, version: int) -> int:
        """Events of a schema version that a worker stores."""
        return sum(n for (its, fault), n in self.sent.items() if its == version and fault not in REASONS)

    def with_fault(self, fault: Fault) -> int:
        """Records with this fault."""
        return sum(n for (_, its), n in self.sent.items() if its is fault)

    def note(self, error: KafkaError | None, _: Message | None) -> None:
        """Count one delivery report."""
        if error is not None:
            self.failed += 1
            self.error = error


class Sender:
    """Sends records with a producer, and counts the acknowledgements.

    Args:
        producer: made by `new_producer`.
        topic: where the records go.
        on_acknowledged: called with each acknowledged record; the producer must report all deliveries then.
    """

    def __init__(self, producer: Producer, topic: str, *, on_acknowledged: OnAcknowledged | None = None) -> None:
        self.counts = DeliveryCounts()
        self._producer = producer
        self._topic = topic
        self._on_acknowledged = on_acknowledged

    def send(self, records: Iterable[OutgoingRecord], *, deferred: AbstractContextManager[object]) -> None:
        """Send records without waiting for their acknowledgements.

        Args:
            records: read one by one.
            deferred: a block in which no signal takes effect, so that a record is sent and counted, or neither.
        """
        for record in records:
            with deferred:
                self._produce(record)

    def flush(self) -> None:
        """Wait until Kafka has answered for each record, at most for the delivery timeout."""
        unanswered = self._producer.flush(_DELIVERY_TIMEOUT)
        # A failure whose report is still due is in `failed` and in `unanswered`.
        self.counts.unanswered = min(unanswered, self.counts.sent.total() - self.counts.failed)
        if self.counts.error is not None:
            self.counts.error = cause_of(self.counts.error, self._producer)

    def _produce(self, record: OutgoingRecord) -> None:
        fields: dict[str, Any] = {"key": record.key, "value": record.value, "headers": [*record.headers]}
        on_delivery = self._delivery_report(record)
        while True:
            try:
                self._producer.produce(self._topic, **fields, on_delivery=on_delivery)
            except BufferError:  # the producer's queue is full: wait until it has room
                self._producer.poll(0.1)
            except KafkaException as exc:
                self.counts.note(exc.args[0], None)
                break
            else:
                break
        self.counts.sent[record.version, record.fault] += 1
        self._producer.poll(0)

    def _delivery_report(self, record: OutgoingRecord) -> Callable[[KafkaError | None, Message | None], None]:
        on_acknowledged = self._on_acknowledged
        if on_acknowledged is None:
            return self.counts.note

        def report(error: KafkaError | None, message: Message | None) -> None:
            self.counts.note(error, message)
            if error is None and message is not None:
                on_acknowledged(record, message.partition() or 0, message.offset() or 0)

        return report


def new_producer(connection: KafkaConnection, *, reports_all: bool) -> Producer:
    """Return a producer for full speed that reports all deliveries, or only those that failed."""
    return connection.producer(
        {
            "linger.ms": 20,
            # The same partition for a key as with the Java client, and so as with the worker's own producer.
            "partitioner": "murmur2_random",
            "delivery.timeout.ms": int(_DELIVERY_TIMEOUT * 1000),
            "delivery.report.only.error": not reports_all,
            "log_level": 0,
        },
        compression="lz4",
        logger=silent_logger,
    )


async def prepare(settings: Settings, faults: Mapping[Fault, float]) -> tuple[Mapping[int, WriterSchema], FaultContext]:
    """Create the topics and register the schemas where they are missing; return what the records are made with.

    Raises:
        BrokerUnavailable, RegistryUnavailable: a server does not answer.
        SettingsError: the settings forbid to register a schema.
    """
    await KafkaAdmin(KafkaConnection.of(settings)).ensure_topics(
        topic=settings.topic, partitions=settings.partitions, dead_letter_topic=settings.dead_letter_topic
    )
    registry = RegistryClient(RegistryConnection.of(settings), settings.subject)
    registration = SchemaRegistration(registry, outages=NoRetry("the schema registry"))
    ours = await registration.prepare(register=settings.register_schemas, compatibility=settings.compatibility)
    return ours, await fault_context.prepare(faults, settings=settings, registry=registry, ours=ours)


def outgoing_records(
    plan: SamplePlan,
    codec: EventCodec,
    context: FaultContext,
    *,
    paced: Callable[[Iterator[Sample]], Iterable[Sample]],
) -> Iterator[OutgoingRecord]:
    """Yield the records of a plan.

    Args:
        plan: the events.
        codec: encodes them.
        context: what their faults need.
        paced: passes on each sample when it is due.
    """
    faults = Faults(plan.faults, seed=plan.seed, context=context)
    samples = islice(generator.samples(seed=plan.seed, v2_ratio=plan.v2_ratio), plan.count)
    for index, sample in enumerate(paced(samples)):
        fault = faults.draw()
        event = sample.event(at=faults.event_time(fault, plan.event_time(index)))
        record = OutgoingRecord(
            key=sample.fields[USER],
            value=codec.dumps(event),
            version=sample.version,
            event=event,
            fault=fault,
            headers=plan.headers.get(sample.version, ()),
        )
        yield from with_fault(record, faults)


def with_fault(record: OutgoingRecord, faults: Faults) -> Iterator[OutgoingRecord]:
    """Yield a record with its fault; two for a duplicate."""
    if record.value is not None:
        record = record._replace(value=faults.wire(record.fault, record.value))
    if record.fault is Fault.DUPLICATE:  # the first of the two counts as an event without a fault
        yield record._replace(fault=None)
    yield record
