"""One reading for all visitors, and the last good one kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from dashboard.data.feed import MOST_QUERIES, Feed
from dashboard.model.errors import DisconnectedError, TooSlowError
from dashboard.model.health import Status
from dashboard.model.snapshot import Filter, Query
from dashboard.model.time_window import DEFAULT, RANGES
from streamapp.rollups.levels import LEVELS
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document

QUERY = Query(chosen=DEFAULT)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_second_visitor_shares_the_first_ones_reading() -> None:
    """MongoDB is asked once."""
    reader = FakeReader([document()])
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=Clock())

    feed.latest(QUERY)
    feed.latest(QUERY)

    assert 1 == reader.reads


def test_older_reading_is_read_again() -> None:
    """A new event is seen with the next refresh."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)
    feed.latest(QUERY)
    reader.documents.append(document())

    clock.forward(5)
    reading = feed.latest(QUERY)

    assert reading.snapshot
    assert 2 == reading.snapshot.total


def test_nothing_stored_is_empty_not_trouble() -> None:
    """MongoDB answers that there is nothing."""
    reading = Feed(pipeline=FakePipeline(), reader=FakeReader(), clock=Clock()).latest(QUERY)

    assert reading.is_empty


def test_outage_keeps_the_last_good_snapshot_and_its_time() -> None:
    """Stale, and known to be."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)
    good = feed.latest(QUERY).snapshot
    reader.error = DisconnectedError("unreachable")

    clock.forward(5)
    feed.latest(QUERY)
    clock.forward(5)
    reading = feed.latest(QUERY)

    assert good is reading.snapshot
    assert good
    assert NOON == good.read_at
    assert isinstance(reading.error, DisconnectedError)


def test_outage_from_the_start_is_unknown_not_empty() -> None:
    """Nothing is known, which is not the same as nothing stored."""
    reader = FakeReader()
    reader.error = DisconnectedError("unreachable")

    reading = Feed(pipeline=FakePipeline(), reader=reader, clock=Clock()).latest(QUERY)

    assert not reading.is_empty
    assert reading.snapshot is None


def test_end_of_the_outage_is_seen() -> None:
    """By itself, with the next refresh."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)
    reader.error = DisconnectedError("unreachable")
    feed.latest(QUERY)
    reader.error = None

    clock.forward(5)

    assert feed.latest(QUERY).error is None


def test_query_that_is_too_slow_is_not_repeated_with_every_refresh() -> None:
    """It costs the server its whole limit each time; the cheap overview is still read."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)
    reader.error_of_counts = TooSlowError("cut off")
    first = feed.latest(Query(chosen=RANGES[-1]))

    clock.forward(5)

    assert first is feed.latest(Query(chosen=RANGES[-1]))
    assert first.overview
    assert 1 == first.overview.stored


def is_direct(feed: Feed) -> bool:
    snapshot = feed.latest(QUERY).snapshot
    assert snapshot
    return snapshot.found.is_direct


def test_events_on_their_way_into_rollups_are_not_missing() -> None:
    """What was stored in these seconds may not be counted yet; what is missing later was forgotten."""
    reader, clock = FakeReader([document()]), Clock()
    reader.not_rolled_up = 1
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)

    assert not is_direct(feed)
    clock.forward(2)
    assert not is_direct(feed)
    clock.forward(4)
    assert is_direct(feed)
    reader.not_rolled_up = 0
    clock.forward(2)
    assert not is_direct(feed)


def test_rollups_that_lack_old_events_are_behind_at_once() -> None:
    """Nothing is on its way."""
    reader = FakeReader([document(NOON - timedelta(minutes=1))])
    reader.not_rolled_up = 1

    assert is_direct(Feed(pipeline=FakePipeline(), reader=reader, clock=Clock()))


def test_rollups_that_are_gone_are_not_taken_for_no_events() -> None:
    """Of this window's level alone: the others still hold every event."""
    at = NOON - timedelta(minutes=3)
    reader = FakeReader([document(at)])
    reader.lost = {at.replace(second=0)}

    snapshot = Feed(pipeline=FakePipeline(), reader=reader, clock=Clock()).latest(QUERY).snapshot

    assert snapshot
    assert (1, True) == (snapshot.total, snapshot.found.is_direct)


def test_days_that_are_not_kept_are_not_missing() -> None:
    """Their rollups were deleted as the settings say; a gap where there should be some is noticed all the same."""
    reader = FakeReader([document(NOON - timedelta(minutes=3))])
    reader.not_rolled_up = 1
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=Clock(), keep={LEVELS[-1]: timedelta(days=400)})

    assert not is_direct(feed)


def test_change_needs_the_whole_period_before() -> None:
    """Rollups that are gone there would make a rise of nothing."""
    at = NOON - timedelta(minutes=20)
    reader = FakeReader([document(at), document(NOON - timedelta(minutes=25)), document(NOON - timedelta(minutes=3))])
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=(clock := Clock()))
    before = feed.latest(QUERY).snapshot
    assert before
    assert before.changes.total is not None
    reader.lost = {at.replace(second=0)}

    clock.forward(2)
    snapshot = feed.latest(QUERY).snapshot

    assert snapshot
    assert (1, False, None) == (snapshot.total, snapshot.found.is_direct, snapshot.changes.total)


def test_deleted_events_are_not_missing_in_rollups() -> None:
    """More was stored once than is now."""
    reader, clock = FakeReader([document(NOON - timedelta(minutes=1)) for _ in range(3)]), Clock()
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)
    feed.latest(QUERY)
    del reader.documents[1:]

    clock.forward(6)

    assert not is_direct(feed)


def test_queries_are_apart_and_the_oldest_are_forgotten() -> None:
    """Memory does not grow with what visitors ask."""
    reader = FakeReader([document()])
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=Clock())
    feed.latest(QUERY)
    for i in range(MOST_QUERIES):
        feed.latest(Query(chosen=DEFAULT, filter=Filter(types=(str(i),))))

    feed.latest(QUERY)

    assert MOST_QUERIES + 2 == reader.reads


def test_trouble_is_waited_for_once() -> None:
    """Also by visitors with another query: an unreachable MongoDB would block each of them."""
    reader, clock = FakeReader([document()]), Clock()
    reader.error = DisconnectedError("unreachable")
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=clock)

    first = feed.latest(QUERY)
    reader.error = DisconnectedError("still unreachable")
    second = feed.latest(Query(chosen=RANGES[1]))

    assert ["unreachable", "unreachable"] == [str(first.error), str(second.error)]


def test_health_is_read_once_for_all_and_unknown_in_an_outage() -> None:
    """As with events."""
    pipeline, clock = FakePipeline(), Clock()
    feed = Feed(pipeline=pipeline, reader=FakeReader(), clock=clock)
    first = feed.pipeline_reading()

    assert first is feed.pipeline_reading()
    pipeline.error = DisconnectedError("unreachable")
    clock.forward(5)
    assert Status.UNKNOWN is feed.pipeline_reading().health.status
