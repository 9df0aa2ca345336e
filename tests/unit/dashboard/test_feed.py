"""One reading for all visitors, and the last good one kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from dashboard.feed import Feed
from dashboard.timeplan import DEFAULT, RANGES
from dashboard.trouble import Disconnected, TooSlow
from tests.dashboard_fakes import NOON, FakeReader, document


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
    feed = Feed(reader=reader, clock=Clock())

    feed.latest(DEFAULT)
    feed.latest(DEFAULT)

    assert 1 == reader.reads


def test_older_reading_is_read_again() -> None:
    """A new event is seen with the next refresh."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(reader=reader, clock=clock)
    feed.latest(DEFAULT)
    reader.documents.append(document())

    clock.forward(5)
    reading = feed.latest(DEFAULT)

    assert reading.snapshot
    assert 2 == reading.snapshot.total


def test_nothing_stored_is_empty_not_trouble() -> None:
    """MongoDB answers that there is nothing."""
    reading = Feed(reader=FakeReader(), clock=Clock()).latest(DEFAULT)

    assert reading.is_empty


def test_outage_keeps_the_last_good_snapshot_and_its_time() -> None:
    """Stale, and known to be."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(reader=reader, clock=clock)
    good = feed.latest(DEFAULT).snapshot
    reader.trouble = Disconnected("away")

    clock.forward(5)
    feed.latest(DEFAULT)
    clock.forward(5)
    reading = feed.latest(DEFAULT)

    assert good is reading.snapshot
    assert good
    assert NOON == good.read_at
    assert isinstance(reading.trouble, Disconnected)


def test_outage_from_the_start_is_unknown_not_empty() -> None:
    """Nothing is known, which is not the same as nothing stored."""
    reader = FakeReader()
    reader.trouble = Disconnected("away")

    reading = Feed(reader=reader, clock=Clock()).latest(DEFAULT)

    assert not reading.is_empty
    assert reading.snapshot is None


def test_end_of_the_outage_is_seen() -> None:
    """By itself, with the next refresh."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(reader=reader, clock=clock)
    reader.trouble = Disconnected("away")
    feed.latest(DEFAULT)
    reader.trouble = None

    clock.forward(5)

    assert feed.latest(DEFAULT).trouble is None


def test_query_that_is_too_slow_is_not_repeated_with_every_refresh() -> None:
    """It costs the server its whole limit each time; the cheap overview is still told."""
    reader, clock = FakeReader([document()]), Clock()
    feed = Feed(reader=reader, clock=clock)
    reader.trouble_of_counts = TooSlow("cut off")
    first = feed.latest(RANGES[-1])

    clock.forward(5)

    assert first is feed.latest(RANGES[-1])
    assert first.overview
    assert 1 == first.overview.all_time
