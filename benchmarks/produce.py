"""`send-sample` at full speed until all events are acknowledged, and a plain loop that sends the same bytes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks import figures, noise, report
from benchmarks.bench import Bench, opened
from benchmarks.watching import cpu_seconds_of_ended
from streamapp.connections.kafka import KafkaConnection
from streamapp.samples.sender import new_producer
from streamapp.settings import Settings

NAME = "produce"
_OURS, _BARE = "send-sample", "bare loop"
_BATCH = 5_000
_GIVE_UP_AFTER_SECONDS = 300.0

#: Key and value.
_Record = tuple[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """The result of sending once."""

    events_per_second: float
    cpu_micros_per_event: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--count", type=int, default=300_000, help="number of events per run (default 300,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")


def run(options: argparse.Namespace) -> None:
    """Run the two in turns; print their results, their ratio and the machine's noise."""
    with opened() as bench:
        produce = _Produce(bench, options.count)
        sent: dict[str, list[_Sent]] = {_OURS: [], _BARE: []}
        for _, name in bench.turns([*sent], options.rounds):
            sent[name].append(produce.ours() if name == _OURS else produce.bare())
    rows = [
        [
            name,
            figures.spread([each.events_per_second for each in of_one], ",.0f"),
            figures.spread([each.cpu_micros_per_event for each in of_one], ".1f"),
        ]
        for name, of_one in sent.items()
    ]
    report.table([f"{options.count:,} events", "acknowledged events/s", "CPU µs per event"], rows)
    ratios = [
        ours.events_per_second / bare.events_per_second for ours, bare in zip(sent[_OURS], sent[_BARE], strict=True)
    ]
    report.say(f"{_OURS} to the {_BARE}, round by round: {figures.spread(ratios, '.2f')} of the speed.\n")
    report.say(noise.verdict(bench.calibrations))


class _Produce:
    """A topic that both write to, and its records after the first run."""

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._count = count
        self._topic = Settings().topic
        self._servers = bench.backend.addresses.kafka_bootstrap_servers
        bench.send(self._topic, count)
        self._there = count
        self._records = self._read()

    def ours(self) -> _Sent:
        """Send with `send-sample`; the CPU of its start, measured by sending one event, is subtracted."""
        before = cpu_seconds_of_ended()
        self._bench.send(self._topic, 1)
        one = cpu_seconds_of_ended()
        seconds = self._bench.send(self._topic, self._count)["seconds"]
        self._check(1 + self._count)
        return self._sent(seconds, cpu_seconds=cpu_seconds_of_ended() - one - (one - before))

    def bare(self) -> _Sent:
        """Send the encoded records from this process, and wait for the acknowledgements."""
        cpu, began = time.process_time(), time.monotonic()
        producer = new_producer(KafkaConnection(servers=self._servers), reports_all=False)
        for key, value in self._records:
            _produce(producer, self._topic, key, value)
        if left := producer.flush(_GIVE_UP_AFTER_SECONDS):
            sys.exit(f"{left} of {self._count} events were not acknowledged: the figures are not valid")
        sent = self._sent(time.monotonic() - began, cpu_seconds=time.process_time() - cpu)
        self._check(self._count)
        return sent

    def _sent(self, seconds: float, *, cpu_seconds: float) -> _Sent:
        return _Sent(events_per_second=self._count / seconds, cpu_micros_per_event=cpu_seconds / self._count * 1e6)

    def _check(self, more: int) -> None:
        """Exit unless the topic has as many new records as were sent."""
        self._there += more
        with _reader(self._servers) as consumer:
            ends = [consumer.get_watermark_offsets(partition, timeout=10) for partition in self._partitions()]
        if (there := sum(high - low for low, high in ends)) != self._there:
            sys.exit(f"the topic has {there} records, and {self._there} were sent: the figures are not valid")

    def _read(self) -> Sequence[_Record]:
        """Read the records of the topic."""
        records: list[_Record] = []
        give_up_at = time.monotonic() + _GIVE_UP_AFTER_SECONDS
        with _reader(self._servers) as consumer:
            consumer.assign(self._partitions())
            while len(records) < self._count:
                records += [(each.key(), each.value()) for each in consumer.consume(_BATCH, timeout=1)]
                if time.monotonic() > give_up_at:
                    sys.exit(f"{len(records)} of {self._count} events could be read: given up")
        return records

    def _partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in range(Settings().partitions)]


def _reader(servers: str) -> Consumer:
    return KafkaConnection(servers=servers).consumer({"group.id": "produce", "enable.auto.commit": False})


def _produce(producer: Producer, topic: str, key: Any, value: Any) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
        except BufferError:  # the queue is full: wait for deliveries
            producer.poll(0.1)
        else:
            return
