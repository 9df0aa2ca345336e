"""The documents that a heartbeat writes; an unknown value is null, never 0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from streamapp.monitoring.heartbeat import MAX_ENDS, HeartbeatBuilder, HeartbeatSample
from streamapp.monitoring.latency import Latencies
from streamapp.monitoring.process_memory import resident_bytes
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import EndOffsets, OffsetTracker, Progress

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1_000)


def partition(**changes: Any) -> Progress:
    """Return a partition without lag, with these changes."""
    values: dict[str, Any] = {"topic": "user_events", "partition": 0, "topic_id": "A" * 22}
    values |= {"settled": 100, "delivered": 100, "end": 100, "oldest_ms": None}
    return Progress(**(values | changes))


def sample(*partitions: Progress, at: datetime = NOON, stored: int = 0) -> HeartbeatSample:
    """Return the state of a worker at an instant."""
    fates = Fates(stored=stored)
    return HeartbeatSample(at=at, partitions=partitions, fates=fates, in_flight=(1, 1_000), latencies=Latencies())


def written(builder: HeartbeatBuilder, state: HeartbeatSample) -> list[dict[str, Any]]:
    """Return the fields that each write sets: partitions first, the worker last."""
    return [change["$set"] for _, change in builder.writes(state)]


def test_settled_partition_has_no_lag() -> None:
    """Its lag is 0 in records and in seconds."""
    state, _ = written(HeartbeatBuilder(NOON), sample(partition()))

    assert (100, 100, 0, 0.0) == (state["settled"], state["end"], state["lag"], state["lag_seconds"])


def test_what_is_delivered_and_not_settled_is_reported() -> None:
    """A rebuild of rollups waits until it is settled."""
    state, _ = written(HeartbeatBuilder(NOON), sample(partition(settled=90)))

    assert (90, 100) == (state["settled"], state["delivered"])


def test_lag_in_seconds_is_the_age_of_the_oldest_record() -> None:
    """The age is measured from the Kafka timestamp of the first record that is not settled."""
    state, _ = written(HeartbeatBuilder(NOON), sample(partition(end=130, oldest_ms=NOON_MS - 2_500)))

    assert (30, 2.5) == (state["lag"], state["lag_seconds"])


def test_age_of_an_unread_record_is_bounded_by_the_last_log_end_below_it() -> None:
    """The bound is unknown if the first observed log end was already above the record."""
    builder = HeartbeatBuilder(NOON)
    first, _ = written(builder, sample(partition(settled=90), at=NOON - timedelta(seconds=3)))
    builder.observe([partition(end=100)], NOON - timedelta(seconds=1.5))
    state, _ = written(builder, sample(partition(end=102)))
    read, _ = written(builder, sample(partition(end=102, oldest_ms=NOON_MS)))

    assert [None, 1.5, None] == [document["lag_seconds_at_most"] for document in (first, state, read)]
    assert [None, None, 0.0] == [document["lag_seconds"] for document in (first, state, read)]


def test_a_limited_number_of_log_ends_is_kept() -> None:
    """The oldest ends are dropped, and so are those of partitions that were revoked."""
    builder = HeartbeatBuilder(NOON)
    for end in range(100, 100 + MAX_ENDS + 1):
        builder.observe([partition(end=end)], NOON)
    forgotten, _ = written(builder, sample(partition(end=300)))
    builder.observe([partition(end=300)], NOON)
    builder.observe([], NOON)
    lost, _ = written(builder, sample(partition(settled=300, end=301)))

    assert [None, None] == [document["lag_seconds_at_most"] for document in (forgotten, lost)]


def test_unknown_is_null() -> None:
    """Before the first fetch, end, lag and rate are unknown; the age of an unread record is unknown."""
    builder = HeartbeatBuilder(NOON)
    new, _ = written(builder, sample(partition(settled=None, end=None)))
    unread, _ = written(builder, sample(partition(end=130)))

    assert [None] * 4 == [new[name] for name in ("settled", "lag", "lag_seconds", "rate")]
    assert unread["lag_seconds"] is None


def test_rate_counts_what_was_settled_since_the_last_heartbeat() -> None:
    """A partition counts offsets, the worker counts records; the rate is unknown after the offsets went back."""
    builder = HeartbeatBuilder(NOON)
    builder.writes(sample(partition(settled=100), stored=100))
    state, worker = written(builder, sample(partition(settled=150), at=NOON + timedelta(seconds=5), stored=160))
    back, _ = written(builder, sample(partition(settled=3), at=NOON + timedelta(seconds=10), stored=160))

    assert (10.0, 12.0, None) == (state["rate"], worker["rate"], back["rate"])


def test_worker_document_has_fates_and_latencies() -> None:
    """The latencies are present even without an event."""
    worker = written(HeartbeatBuilder(NOON), sample(partition(), stored=7))[-1]

    assert {"stored": 7, "duplicates": 0, "dead_lettered": 0} == worker["fates"]
    assert {"slices": 1, "bytes": 1_000} == worker["in_flight"]
    assert worker["deleted_offsets"] == 0
    assert (0, None) == (worker["latency"]["n"], worker["latency"]["p95_ms"])


def test_partition_of_a_recreated_topic_is_new() -> None:
    """A partition with another topic id was not in the last sample."""
    builder = HeartbeatBuilder(NOON)
    builder.writes(sample(partition()))

    assert not builder.has_new([partition(settled=200)])
    assert builder.has_new([partition(topic_id="B" * 22)])


def test_settled_offset_of_a_deleted_topic_is_unknown() -> None:
    """Offsets below it were settled in the deleted topic."""
    offset_tracker = OffsetTracker(max_bytes=1_000, max_batches=10)
    offset_tracker.assign({("user_events", 0): 500, ("others", 0): 5})
    offset_tracker.reset_settled("user_events")

    (known,) = offset_tracker.progress({}, {"user_events": "B" * 22})
    assert known.settled is None


def test_oldest_record_is_the_first_that_is_not_settled() -> None:
    """Acks of later batches do not change it."""
    offset_tracker = OffsetTracker(max_bytes=1_000, max_batches=10)
    tp = ("user_events", 0)
    offset_tracker.assign({tp: 0})
    first = offset_tracker.deliver(tp, end=10, records=10, size=1, first_ms=1_000)
    second = offset_tracker.deliver(tp, end=20, records=10, size=1, first_ms=2_000)

    offset_tracker.ack(second)
    (before,) = offset_tracker.progress({tp: EndOffsets(25, 22)}, {"user_events": None})
    offset_tracker.ack(first)
    (after,) = offset_tracker.progress({tp: EndOffsets(25, 22)}, {"user_events": None})

    assert (0, 25, 1_000) == (before.settled, before.lag, before.oldest_ms)
    assert (20, 5, None) == (after.settled, after.lag, after.oldest_ms)
    assert (22, 0) == (after.stable_end, after.committed)


def test_each_step_of_the_histories_is_written_when_it_has_ended() -> None:
    """With the greatest lag and age of its heartbeats, and their mean rate."""
    builder, pushed = HeartbeatBuilder(NOON), list[dict[str, Any]]()
    for at in range(0, 660, 20):
        settled = 100 + at
        behind = partition(settled=settled, end=settled + at, oldest_ms=NOON_MS)
        (_, change), _ = builder.writes(sample(behind, at=NOON + timedelta(seconds=at)))
        pushed.append(change["$push"])

    minutes = [change["last_hour"]["$each"][0] for change in pushed if "last_hour" in change]
    assert [NOON + timedelta(minutes=minute) for minute in range(10)] == [each["at"] for each in minutes]
    assert {"at": NOON, "lag": 40, "lag_seconds_at_most": 40.0, "rate": 1.0} == minutes[0]
    days = [change["last_day"] for change in pushed if "last_day" in change]
    assert [{"at": NOON, "lag": 580, "lag_seconds_at_most": 580.0, "rate": 1.0}] == days[0]["$each"]
    assert (1, -144) == (len(days), days[0]["$slice"])


def test_a_step_of_which_nothing_is_known_is_null() -> None:
    """The bound of an age counts where the age itself is unknown."""
    builder = HeartbeatBuilder(NOON)
    builder.writes(sample(partition(settled=None, end=None)))
    (_, first), _ = builder.writes(sample(partition(), at=NOON + timedelta(seconds=60)))
    builder.writes(sample(partition(end=101), at=NOON + timedelta(seconds=75)))
    (_, second), _ = builder.writes(sample(partition(), at=NOON + timedelta(seconds=120)))

    known = {"at": NOON + timedelta(minutes=1), "lag": 1, "lag_seconds_at_most": 15.0, "rate": 0.0}
    unknown = {"at": NOON, "lag": None, "lag_seconds_at_most": None, "rate": None}
    assert [[unknown], [known]] == [change["$push"]["last_hour"]["$each"] for change in (first, second)]


def test_worker_document_has_the_memory() -> None:
    """Null where the system does not tell it."""
    (unknown,) = written(HeartbeatBuilder(NOON), sample())
    known = resident_bytes()

    assert unknown["memory_bytes"] is None
    assert known is None or known > 1_000_000
