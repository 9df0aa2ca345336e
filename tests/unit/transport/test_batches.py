"""The messages that are built from one fetched partition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from faust.types import TP

from streamapp.transport.batch_size import memory_sizes
from streamapp.transport.batches import BatchBuilder, PartitionBatchMessage
from streamapp.transport.offset_tracker import OffsetTracker
from streamapp.transport.response_buffer import FetchedPartition
from tests.support.factories import NOW, TOPIC_ID, FakeRecord

A = TP("user_events", 0)
GENERATION = 3


def a_builder(
    *, begin: int = 0, max_records: int = 100, is_current: Callable[[int], bool] = lambda _: True, **changes: Any
) -> BatchBuilder:
    """Return a builder whose tracker holds one partition from offset `begin` on."""
    offset_tracker = OffsetTracker(max_bytes=1_000_000, max_batches=100)
    offset_tracker.assign({A: begin})
    values = {
        "offset_tracker": offset_tracker,
        "topic_ids": {A.topic: TOPIC_ID},
        "max_records": max_records,
        "max_bytes": 1_000_000,
        "is_current": is_current,
        "on_log_end": lambda *_: None,
        "on_release": lambda *_: None,
        "seek_back": lambda *_: None,
    }
    return BatchBuilder(**(values | changes))


def a_fetch(*offsets: int, position_before: int = 0, position_after: int | None = None) -> FetchedPartition:
    """Return a fetch of these offsets of the partition."""
    records = [FakeRecord(value=b"x", offset=offset) for offset in offsets]
    position = offsets[-1] + 1 if position_after is None else position_after
    return FetchedPartition(A, position_before, records, sum(memory_sizes(records)), position, 99)


def test_message_carries_its_batch_and_its_entry_in_the_tracker() -> None:
    """An ack of the message needs nothing else."""
    builder = a_builder()

    (message,) = builder.messages(a_fetch(0, 1, 2), GENERATION, builder.source(A))

    assert isinstance(message, PartitionBatchMessage)
    assert (A, 2, NOW / 1000, GENERATION) == (message.tp, message.offset, message.timestamp, message.generation_id)
    batch: Any = message.value
    assert (TOPIC_ID, [0, 1, 2]) == (batch.topic_id, [record.offset for record in batch.records])
    assert builder.offset_tracker.ack(message.in_flight_batch)
    assert builder.offset_tracker.committable(A) == 3


def test_records_beyond_the_limit_become_further_batches() -> None:
    """Each batch begins where the batch before it ended."""
    builder = a_builder(max_records=2)

    batches: list[Any] = [
        message.value for message in builder.messages(a_fetch(0, 1, 2, 5, 6), GENERATION, builder.source(A))
    ]

    assert [[0, 1], [2, 5], [6]] == [[record.offset for record in batch.records] for batch in batches]
    assert [0, 2, 6] == [batch.begin for batch in batches]


def test_nothing_is_delivered_once_the_generation_is_over() -> None:
    """The position stays below the undelivered records, so that they are read again."""
    answers = iter([True, True, False, False])
    builder = a_builder(max_records=1, is_current=lambda _: next(answers))

    messages = list(builder.messages(a_fetch(0, 1, position_after=9), GENERATION, builder.source(A)))

    assert [0] == [message.offset for message in messages]
    assert not builder.offset_tracker.is_behind(A, 1)


def test_position_moves_past_offsets_that_hold_no_record() -> None:
    """Offsets of control records are committed, too."""
    builder = a_builder()

    assert [] == list(builder.messages(a_fetch(position_after=4), GENERATION, builder.source(A)))

    assert builder.offset_tracker.committable(A) == 4


def test_deleted_offsets_are_logged_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    """An operator must learn that the retention is too short."""
    builder = a_builder(begin=5)

    assert list(builder.messages(a_fetch(8, position_before=8), GENERATION, builder.source(A)))

    assert "Kafka has deleted 3 offsets of user_events, partition 0" in caplog.text
    assert builder.offset_tracker.deleted_offsets == 3


def test_released_records_are_reported_with_their_entry() -> None:
    """The tracker can then reduce the bytes in flight."""
    released: list[tuple[Any, int]] = []
    builder = a_builder(on_release=lambda *args: released.append(args))
    (message,) = builder.messages(a_fetch(0), GENERATION, builder.source(A))
    batch: Any = message.value

    batch.release_records(7)

    assert [(message.in_flight_batch, 7)] == released


@pytest.mark.parametrize(("change", "read_again"), [({}, [(A, 1)]), ({A.topic: "another"}, [])])
def test_no_record_is_delivered_after_the_topic_id_has_changed(
    change: dict[str, str], read_again: list[tuple[TP, int]]
) -> None:
    """While the topic id is unknown, the rest is kept for another fetch; of a deleted topic nothing is read again."""
    topic_ids, sought = {A.topic: TOPIC_ID}, list[tuple[TP, int]]()
    builder = a_builder(max_records=1, topic_ids=topic_ids, seek_back=lambda *place: sought.append(place))
    messages = builder.messages(a_fetch(0, 1), GENERATION, builder.source(A))
    next(messages)

    topic_ids.clear()
    topic_ids.update(change)

    assert [] == [*messages]
    assert read_again == sought
