"""Checks of `tests/unit/model/test_user_event.py`, run in a process whose events have one more field, `campaign`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import bson
from aiokafka.record.default_records import DefaultRecord
from streamlit.testing.v1 import AppTest

from dashboard.data import rollup_sums
from dashboard.data.feed import Feed
from dashboard.model import compute, export
from dashboard.model.snapshot import Filter, Overview, Query, QueryResult, Snapshot
from dashboard.model.time_window import DEFAULT, from_ms, window
from streamapp.decode import batch, document, wire_format
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.wire_format import EventCodec
from streamapp.model import user_event
from streamapp.model.record import Origin, PartitionBatch, PartitionId
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.recount import Recount, difference
from streamapp.rollups.rollup import Rollup
from streamapp.samples.generator import samples
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import NOON, FakeReader
from tests.support.doubles.dashboard_reader import document as reader_document
from tests.support.factories import WRITERS

NOW = 1_790_000_000_000
NOW_AT = datetime.fromtimestamp(NOW / 1000, UTC)
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAB"
TIMES = EventTimes(earliest=0, ahead=86_400_000)
#: Labels of the schema versions; the last one has the new field.
*OLDER, NEW = [f"v{version}" for version in user_event.VERSIONS]
LEVEL = window(DEFAULT, NOW_AT).level
BUCKET = LEVEL.start_of(NOW)
ID = id_of(PartitionId(TOPIC_ID, 0), BUCKET)


def main() -> None:
    """Run all checks and print which module defines the event."""
    documents = decoded()
    rollup = counted(documents)
    shown = snapshot([rollup.document()], Filter())
    check_documents(documents)
    check_rollup(rollup, documents)
    check_page(shown, rollup)
    check_older_rollup(documents)
    sys.stdout.write(user_event.__file__)


def decoded() -> list[LazyDocument]:
    """Return the documents of some samples of all versions, from the bytes that stand for them in Kafka."""
    codec = EventCodec(WRITERS)
    chosen = islice(samples(seed=1, v2_ratio=0.7), 200)
    values = [codec.dumps(sample.event(at=BUCKET)) for sample in chosen]
    records = [DefaultRecord(offset, NOW, 0, b"key", value, ()) for offset, value in enumerate(values)]
    of_partition = PartitionBatch(
        topic="user_events", partition=0, topic_id=TOPIC_ID, assignment=0, begin=None, records=records, size=0
    )
    (made,) = batch.parts(of_partition, WRITERS, times=TIMES, received_at=NOW_AT)
    assert not made.dead
    assert {*OLDER, NEW} == {*made.events.versions}
    for record, each in zip(records, made.events.documents, strict=True):
        assert isinstance(each, LazyDocument)  # of the fast path
        writer, read = wire_format.decode(record.value, WRITERS)
        origin = Origin("user_events", 0, record.offset, NOW, TOPIC_ID)
        expected = document.build(read, writer=writer, origin=origin, received_at=NOW_AT, times=TIMES)
        assert (bson.encode(expected), document.row_of(expected)) == (each.raw, each.row)
    return [each for each in made.events.documents if isinstance(each, LazyDocument)]


def counted(documents: list[LazyDocument], stored: dict[str, Any] | None = None) -> Rollup:
    """Return the rollup of one bucket, new or as it was stored, with these documents."""
    rollup, pending = Rollup(ID, stored), PendingCounts.of(documents)
    rollup.add(pending.after(-1, LEVEL)[BUCKET])
    rollup.offset = pending.last_offset
    return rollup


def check_documents(documents: list[LazyDocument]) -> None:
    """Events of the new version have a campaign, others have null."""
    campaigns = {version: set[str | None]() for version in (*OLDER, NEW)}
    for each in documents:
        campaigns[each["schema_version"]].add(each["campaign"])
    assert {**{version: {None} for version in OLDER}, NEW: {"spring", "summer"}} == campaigns


def check_rollup(rollup: Rollup, documents: list[LazyDocument]) -> None:
    """Campaigns are counted, alone and in cells; a recount of the stored documents finds the same."""
    assert {"%null", "spring", "summer"} == {*rollup.maps["campaigns"]}
    assert rollup.n == sum(rollup.maps["campaigns"].values())
    assert {"%null", "spring", "summer"} == {cell.split("|")[-1] for cell in rollup.cells}
    recount = Recount(LEVELS)
    recount.add([each.decoded() for each in documents], {})
    assert difference(rollup, recount.rollups[LEVEL][ID]) is None


def snapshot(rollups: list[dict[str, Any]], wanted: Filter) -> Snapshot:
    """Return what the page shows of rollups."""
    shown = window(DEFAULT, NOW_AT)
    sums = rollup_sums.sums([{**each, "bucket": from_ms(BUCKET)} for each in rollups], wanted)
    counts, finished = rollup_sums.of_window([sums], [], wanted)
    return compute.snapshot(
        query=Query(chosen=DEFAULT, filter=wanted),
        window=shown,
        read_at=NOW_AT,
        overview=Overview(stored=200, rolled_up=200, last_received_at=NOW_AT, newest_event_at=NOW_AT),
        found=QueryResult(counts=counts, finished=finished),
    )


def bars(shown: Snapshot) -> dict[str, int]:
    """Return the bars of the chart of campaigns."""
    return {part.label: part.n for part in shown.parts["campaigns"]}


def check_page(shown: Snapshot, rollup: Rollup) -> None:
    """Campaigns have a chart, a filter and rows in an export."""
    null, absent = rollup.maps["campaigns"]["%null"], f"n/a ({', '.join(OLDER)})"
    assert {"spring", "summer", absent} == {*bars(shown)}
    assert bars(shown)[absent] == null
    assert (absent, "spring", "summer") == shown.found.counts.options["campaigns"]
    filtered = snapshot([rollup.document()], Filter(campaigns=("spring",)))
    assert filtered.total == bars(shown)["spring"] > 0
    assert b"campaigns,,spring," in export.as_csv(shown)
    check_views()


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    """Show the page."""
    from dashboard.views import page  # noqa: PLC0415 - Streamlit runs this function's text as a script of its own

    page.show(feed)


def check_views() -> None:
    """The page shows the chart and the filter."""
    reader = FakeReader([reader_document(campaign="spring")])
    feed = Feed(reader=reader, pipeline=FakePipeline(), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=240).run()
    assert not app.exception, app.exception
    assert "Campaigns" in [header.value for header in app.header]
    assert "Campaign" in [select.label for select in app.multiselect]


def check_older_rollup(documents: list[LazyDocument]) -> None:
    """A rollup stored before the field existed is added to, shown and found to differ from a recount."""
    stored = counted(documents[:100]).document()
    del stored["campaigns"]
    stored["cells"] = {cell.rpartition("|")[0]: n for cell, n in stored["cells"].items()}

    older = counted(documents[100:], stored)

    assert older.n == len(documents)
    complete = counted(documents)
    assert str(difference(older, complete)).startswith("campaigns: ")
    shown = snapshot([older.document()], Filter())
    assert shown.total == len(documents)
    assert bars(shown)["not counted"] == 100
    clicks = snapshot([older.document()], Filter(types=("click",)))
    assert clicks.total == snapshot([complete.document()], Filter(types=("click",))).total
    assert bars(clicks)["not counted"] > 0
    assert "not counted" not in clicks.found.counts.options["campaigns"]


if __name__ == "__main__":
    main()
