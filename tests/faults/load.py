"""A producer in the background that records what it sent and the coordinates that Kafka returned."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.model import event
from streamapp.settings import Settings
from tests.support import events, foreign, hostile, raw_producer
from tests.support.until import until

#: Seconds between two rounds of sending.
ROUND = 0.2
#: Milliseconds before now in which events happen: more than one bucket of every level except the day.
PAST = 3 * 3_600_000
#: One poison record per so many events, and one event that was a dead letter before per so many poison records.
POISON_EVERY, REPLAY_EVERY = 150, 4


#: Kafka's default limit for a record with its coordinates; and what remains for the value.
MAX_BYTES, LARGEST = 1_048_588, 1_047_000


class Place(NamedTuple):
    """The coordinates of a record: topic id, partition, offset."""

    topic_id: str
    partition: int
    offset: int

    @property
    def id(self) -> str:
        """The `_id` of its document."""
        return f"{self.topic_id}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sent:
    """One record as it was sent, and the fate that it must get."""

    key: bytes
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes | None]] = ()
    #: The event that must be stored; None for a poison record.
    document: dict[str, Any] | None = None
    #: The reason of its dead letter.
    reason: str | None = None
    #: The coordinates that its document gets, for a replayed dead letter.
    origin: Place | None = None


@dataclass(slots=True)
class SentLog:
    """What was sent, by key, and what Kafka acknowledged, by coordinates."""

    sent: dict[bytes, Sent] = field(default_factory=dict[bytes, Sent])
    acknowledged: dict[Place, Sent] = field(default_factory=dict[Place, Sent])
    #: Stored events whose records Kafka has lost after it acknowledged them.
    lost: dict[Place, Sent] = field(default_factory=dict[Place, Sent])
    failed: list[str] = field(default_factory=list[str])


class Load:
    """Sends events of three versions, poison records and replayed dead letters, at a rate, until it is stopped."""

    def __init__(self, settings: Settings, topic_id: str, *, rate: int, seed: int) -> None:
        self.sent_log = SentLog()
        self.topic_id = topic_id
        self.rate = rate
        #: Milliseconds by which Kafka's timestamps of the records are shifted.
        self.skew_ms = 0
        self._settings = settings
        self._source = random.Random(seed)
        self._numbers = count()
        self._senders = events.Senders(settings)
        unrelated = foreign.register(settings, events.ORDER, f"{settings.topic}-orders")
        self._poisons = events.poisons(self._senders.ids[1], unrelated)
        self._source.shuffle(self._poisons)
        #: Poison records that stay poison at any Kafka timestamp.
        self._timeless = [each for each in self._poisons if each[1] != "timestamp-out-of-range"]
        self._buried: list[tuple[Place, Sent]] = []
        #: Id and schema of the hostile records, once there are some.
        self._hostile: tuple[int, dict[str, Any]] | None = None
        self._lock = threading.Lock()
        self._paused = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._error: BaseException | None = None
        self.connect()

    def connect(self) -> None:
        """Connect with a new producer: the old one knows the deleted topic."""
        self._producer = Producer(
            {
                "bootstrap.servers": self._settings.kafka_bootstrap_servers,
                "client.id": "load",
                "enable.idempotence": True,
                "compression.type": self._source.choice(("none", "gzip", "lz4", "zstd")),
                "linger.ms": 5,
                # Longer than any fault: a record that is not acknowledged may be in Kafka, or not.
                "delivery.timeout.ms": 1_800_000,
                "message.max.bytes": MAX_BYTES,
                "topic.metadata.refresh.interval.ms": 1_000,
                "log_level": 0,
            }
        )

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until all records are acknowledged."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(60)
        self.flush()
        if self._error:
            raise self._error

    def flush(self, within: float = 120) -> None:
        """Wait until all sent records are acknowledged."""
        until(lambda: self._producer.flush(0.5) == 0, within=within, what="Kafka's acknowledgements")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Send nothing in this block; all records are acknowledged before it."""
        with self._lock:
            self._paused = True
        try:
            self.flush()
            yield
        finally:
            self._paused = False

    def events(self, number: int, *, version: int | None = None, **values: Any) -> None:
        """Send events now, of all versions in turn unless one is given."""
        for _ in range(number):
            self._send(self._event(version, **values))

    def announce(self) -> int:
        """Register a version that no worker has seen; return its number."""
        return self._senders.announce()

    def large(self) -> None:
        """Send an event and a poison record of the maximum size."""
        noise = self._source.randbytes(LARGEST // 2).hex()
        poison = self._poison()
        self._send(self._event(1, user_id=noise[: LARGEST - 1_000]))
        self._send(replace(poison, value=noise.encode(), reason="bad-magic-byte"))

    def transaction(self, number: int, *, commit: bool) -> None:
        """Send events in a transaction; events of an aborted transaction must not be stored."""
        servers, name = self._settings.kafka_bootstrap_servers, f"{self._settings.topic}-{next(self._numbers)}"
        producer = Producer({"bootstrap.servers": servers, "transactional.id": name, "log_level": 0})
        producer.init_transactions(30)
        producer.begin_transaction()
        for _ in range(number):
            sent = self._event()
            if commit:
                self._send(sent, producer=producer)
            else:
                producer.produce(self._settings.topic, key=sent.key, value=sent.value)
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    def superseded(self, number: int) -> None:
        """Send events twice with the same key: a compacted topic keeps only the second, which alone must be stored."""
        for _ in range(number):
            sent = self._event()
            self._producer.produce(self._settings.topic, key=sent.key, value=b"superseded")
            self._send(sent)
        self.flush()

    @contextmanager
    def shifted(self, millis: int) -> Iterator[None]:
        """Shift the Kafka timestamps of records that are sent meanwhile."""
        self.skew_ms = millis
        try:
            yield
        finally:
            self.skew_ms = 0

    def odd_header(self, partition: int) -> None:
        """Send an event with a header whose name is not UTF-8."""
        sent = self._event()
        self.sent_log.sent[sent.key] = sent
        batch = raw_producer.with_odd_header(sent.key, sent.value or b"", sent.timestamp)
        offset = raw_producer.send(self._settings.kafka_bootstrap_servers, self._settings.topic, partition, batch)
        self._note(Place(self.topic_id, partition, offset), sent)

    def forged(self, partition: int, offset: int) -> None:
        """Send an event whose headers claim a place that it does not have."""
        coordinates = {
            "topic": self._settings.topic,
            "partition": f"{partition}",
            "offset": f"{offset}",
            "timestamp": f"{self._now()}",
            "incarnation": self.topic_id,
            "attempt": "1",
        }
        headers = [(f"streamapp.{name}", text.encode()) for name, text in coordinates.items()]
        self._send(replace(self._event(), headers=headers))

    def bombs(self) -> None:
        """Send a record of each hostile kind, under a schema version that has its fields."""
        if self._hostile is None:
            written = hostile.schema(event.schema(1))
            self._hostile = foreign.register(self._settings, written, f"{self._settings.topic}-hostile"), written
        schema_id, written = self._hostile
        number, now = next(self._numbers), self._now()
        values = events.an_event(number, event_timestamp=self._past(now))
        labels = {"browser": None, "schema_version": "unregistered", "schema_id": schema_id}
        for index, (value, fields, reason) in enumerate(hostile.samples(values, written, schema_id)):
            document = None if fields is None else {**fields, **labels}
            key = f"bomb-{number}-{index}".encode()
            self._send(Sent(key=key, value=value, timestamp=now, document=document, reason=reason))

    def lose(self, ends: Mapping[int, int]) -> None:
        """Note that Kafka has lost the records from these offsets on."""
        acknowledged = self.sent_log.acknowledged
        for place in [*acknowledged]:
            if place.topic_id == self.topic_id and place.offset >= ends.get(place.partition, place.offset + 1):
                self.sent_log.lost[place] = acknowledged.pop(place)

    def poison(self) -> None:
        """Send a poison record, a replayed dead letter if there is one, and an event."""
        self._send(self._poison())
        if self._buried:
            self._replay()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(ROUND):
                with self._lock:
                    if not self._paused:
                        self._round()
                self._producer.poll(0)
        except BaseException as exc:  # noqa: BLE001 - raised by `stop`
            self._error = exc

    def _round(self) -> None:
        for _ in range(max(1, int(self.rate * ROUND))):
            self._send(self._event())
            if self._source.randrange(POISON_EVERY) == 0:
                self._send(self._poison())
            if self._buried and self._source.randrange(POISON_EVERY * REPLAY_EVERY) == 0:
                self._replay()

    def _event(self, version: int | None = None, **values: Any) -> Sent:
        number, now = next(self._numbers), self._now()
        at = self._past(now)
        value, document = self._senders.event(number, version or number % 3 + 1, **{"event_timestamp": at, **values})
        return Sent(key=f"event-{number}".encode(), value=value, timestamp=now, document=document)

    def _poison(self) -> Sent:
        number, now = next(self._numbers), self._now()
        poisons = self._poisons if self.skew_ms <= 0 else self._timeless
        value, reason = poisons[number % len(poisons)]
        headers = (("trace", f"{number}".encode()), ("empty", None))
        return Sent(key=f"poison-{number}".encode(), value=value, timestamp=now, headers=headers, reason=reason)

    def _replay(self) -> None:
        """Send, twice, a dead letter that has become a valid event, as a replay does."""
        place, dead = self._buried.pop(self._source.randrange(len(self._buried)))
        event = self._event(event_timestamp=self._past(dead.timestamp))
        coordinates = {
            "topic": self._settings.topic,
            "partition": f"{place.partition}",
            "offset": f"{place.offset}",
            "timestamp": f"{dead.timestamp}",
            "incarnation": place.topic_id,
            "attempt": "1",
        }
        headers = [(f"streamapp.{name}", text.encode()) for name, text in coordinates.items()]
        for copy in (b"-first", b"-second"):
            self._send(
                Sent(
                    key=event.key + copy,
                    value=event.value,
                    timestamp=event.timestamp,
                    headers=headers,
                    document=event.document,
                    origin=place,
                )
            )

    def _past(self, millis: int) -> int:
        """An event time before this instant, and before now: no clock may run ahead of the worker's."""
        return min(millis, int(time.time() * 1000)) - self._source.randrange(PAST)

    def _now(self) -> int:
        return int(time.time() * 1000) + self.skew_ms

    def _send(self, sent: Sent, producer: Producer | None = None) -> None:
        self.sent_log.sent[sent.key] = sent
        topic_id = self.topic_id

        def delivered(error: Any, message: Message) -> None:
            if error:
                self.sent_log.failed.append(f"{sent.key!r}: {error}")
            elif (offset := message.offset()) is not None and offset >= 0:
                self._note(Place(topic_id, message.partition() or 0, offset), sent)

        self._produce(sent, producer or self._producer, delivered)

    def _produce(self, sent: Sent, producer: Producer, delivered: Any) -> None:
        while True:
            try:
                producer.produce(
                    self._settings.topic,
                    # A replay goes to the partition of its dead letter.
                    partition=sent.origin.partition if sent.origin else -1,
                    key=sent.key,
                    value=sent.value,
                    timestamp=sent.timestamp,
                    headers=list(sent.headers),
                    on_delivery=delivered,
                )
            except BufferError:
                producer.poll(0.1)
            except KafkaException as exc:
                # The producer learns of a new partition some time after the worker.
                if exc.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                producer.poll(0.1)
            else:
                return

    def _note(self, place: Place, sent: Sent) -> None:
        self.sent_log.acknowledged[place] = sent
        if sent.reason:
            self._buried.append((place, sent))
