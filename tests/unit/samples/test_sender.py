"""Sending sample events: which records, and the counts of their acknowledgements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from streamapp.decode.document import EventTimes
from streamapp.decode.wire_format import EventCodec
from streamapp.samples.faults import Fault, FaultContext
from streamapp.samples.sender import OutgoingRecord, SamplePlan, Sender, outgoing_records
from tests.support.factories import WRITERS

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
CONTEXT = FaultContext(times=EventTimes(earliest=0, ahead=0), schemas=WRITERS)


class Message:
    """As much of a delivered message as the sender reads."""

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7


class FakeProducer:
    """A producer that reports the delivery of each record at once, with these errors; None never reports."""

    def __init__(self, *reports: KafkaError | Message | None, full: int = 0) -> None:
        self._reports = [*reports]
        self._full = full
        self._unanswered = 0

    def produce(self, _: str, *, on_delivery: Callable[[Any, Any], None], **__: object) -> None:
        if self._full:
            self._full -= 1
            raise BufferError
        report = self._reports.pop(0)
        if report is None:
            self._unanswered += 1
        elif isinstance(report, Message):
            on_delivery(None, report)
        else:
            on_delivery(report, None)

    def poll(self, _: float) -> None: ...

    def flush(self, _: float) -> int:
        return self._unanswered


def record(**changes: Any) -> OutgoingRecord:
    return OutgoingRecord(**{"key": "u", "value": b"v", "version": 1, "event": {}, **changes})


def send(
    producer: FakeProducer, *records: OutgoingRecord, deferred: AbstractContextManager[object] | None = None
) -> Sender:
    """Send records to the end; return the sender."""
    sender = Sender(cast("Producer", producer), "clicks")
    sender.send(records, deferred=deferred or nullcontext())
    sender.flush()
    return sender


def test_each_record_is_acknowledged_failed_or_unanswered() -> None:
    failure = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)

    counts = send(FakeProducer(Message(), failure, None), record(), record(), record()).counts

    assert (3, 1, 2) == (counts.sent.total(), counts.acknowledged, counts.unacknowledged)
    assert failure == counts.error


def test_a_full_queue_is_waited_for() -> None:
    """Until the producer has room for the record."""
    assert 1 == send(FakeProducer(Message(), full=2), record()).counts.acknowledged


def test_each_record_is_sent_in_a_block_without_signals() -> None:
    """So that it is sent and counted, or neither."""
    blocks: list[str] = []

    class Deferred(AbstractContextManager[None]):
        def __enter__(self) -> None:
            blocks.append("begin")

        def __exit__(self, *_: object) -> None:
            blocks.append("end")

    send(FakeProducer(Message(), Message()), record(), record(), deferred=Deferred())

    assert ["begin", "end", "begin", "end"] == blocks


def test_acknowledged_records_are_reported_with_partition_and_offset() -> None:
    """A record that failed is not."""
    reported: list[tuple[OutgoingRecord, int, int]] = []
    producer = FakeProducer(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), Message())
    sender = Sender(cast("Producer", producer), "clicks", on_acknowledged=lambda *each: reported.append(each))

    sender.send([record(key="failed"), record(key="sent")], deferred=nullcontext())

    assert [(record(key="sent"), 3, 7)] == reported


def test_counts_are_by_version_and_fault() -> None:
    """A record with a fault that becomes a dead letter is not a storable event."""
    records = [record(version=2), record(version=2, fault=Fault.LATE), record(version=2, fault=Fault.NULL)]

    counts = send(FakeProducer(*[Message()] * 3), *records).counts

    assert (0, 2) == (counts.storable(1), counts.storable(2))
    assert 1 == counts.with_fault(Fault.NULL)


def planned(count: int, *, rate: float | None = None, **faults: float) -> list[OutgoingRecord]:
    """Return the records of a plan that starts at START; those of V2 have a header."""
    fractions = {Fault(name): fraction for name, fraction in faults.items()}
    plan = SamplePlan(
        count=count, rate=rate, seed=7, v2_ratio=0.5, start=START, faults=fractions, headers={2: [("client", b"web")]}
    )
    return [*outgoing_records(plan, EventCodec(WRITERS), CONTEXT, paced=lambda samples: samples)]


@pytest.mark.parametrize(("rate", "step"), [(50, 20), (None, 2_000)])
def test_event_times_continue_from_the_start_at_the_rate(rate: float | None, step: int) -> None:
    """Without a rate, by 2 s."""
    times = [each.event["event_timestamp"] for each in planned(3, rate=rate)]

    assert [START.timestamp() * 1000 + index * step for index in range(3)] == times


def test_headers_are_those_of_the_version() -> None:
    """Records of the other version have none."""
    assert {(1, ()), (2, (("client", b"web"),))} == {(each.version, tuple(each.headers)) for each in planned(20)}


def test_a_duplicate_is_the_same_record_twice() -> None:
    """The first of the two counts as a record without a fault."""
    first, second = planned(1, duplicate=1.0)

    assert (first.key, first.value) == (second.key, second.value)
    assert (None, Fault.DUPLICATE) == (first.fault, second.fault)
