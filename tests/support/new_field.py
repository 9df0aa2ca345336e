"""Checks of `tests/unit/model/test_user_event.py`, run in a process whose events have one more field, `referrer`."""

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
from streamapp.decode.writer_schema import writer_schema
from streamapp.model import event, user_event
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

NOW = 1_790_000_000_000
NOW_AT = datetime.fromtimestamp(NOW / 1000, UTC)
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAB"
TIMES = EventTimes(earliest=0, ahead=86_400_000)
WRITERS = {
    version: writer_schema(event.schema(version), schema_id=version, version=f"v{version}")
    for version in user_event.VERSIONS
}
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
    assert {"v1", "v2", "v3"} == {*made.events.versions}
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
    """Events of version 3 have a referrer, others have null."""
    referrers = {version: set[str | None]() for version in ("v1", "v2", "v3")}
    for each in documents:
        referrers[each["schema_version"]].add(each["referrer"])
    assert {"v1": {None}, "v2": {None}, "v3": {"search", "social"}} == referrers


def check_rollup(rollup: Rollup, documents: list[LazyDocument]) -> None:
    """Referrers are counted, alone and in cells; a recount of the stored documents finds the same."""
    assert {"%null", "search", "social"} == {*rollup.maps["referrers"]}
    assert rollup.n == sum(rollup.maps["referrers"].values())
    assert {"%null", "search", "social"} == {cell.split("|")[4] for cell in rollup.cells}
    recount = Recount(LEVELS)
    recount.add([each.decoded() for each in documents], {})
    assert difference(rollup, recount.rollups[LEVEL][ID]) is None


def snapshot(rollups: list[dict[str, Any]], wanted: Filter) -> Snapshot:
    """Return what the page shows of rollups."""
    shown = window(DEFAULT, NOW_AT)
    counts, finished = rollup_sums.of_window([{**each, "bucket": from_ms(BUCKET)} for each in rollups], shown, wanted)
    return compute.snapshot(
        query=Query(chosen=DEFAULT, filter=wanted),
        window=shown,
        read_at=NOW_AT,
        overview=Overview(stored=200, rolled_up=200, last_received_at=NOW_AT, newest_event_at=NOW_AT),
        found=QueryResult(counts=counts, finished=finished),
    )


def bars(shown: Snapshot) -> dict[str, int]:
    """Return the bars of the chart of referrers."""
    return {part.label: part.n for part in shown.parts["referrers"]}


def check_page(shown: Snapshot, rollup: Rollup) -> None:
    """Referrers have a chart, a filter and rows in an export."""
    null = rollup.maps["referrers"]["%null"]
    assert {"search", "social", "n/a (v1, v2)"} == {*bars(shown)}
    assert bars(shown)["n/a (v1, v2)"] == null
    assert ("not given", "search", "social") == shown.found.counts.options["referrers"]
    filtered = snapshot([rollup.document()], Filter(referrers=("search",)))
    assert filtered.total == bars(shown)["search"] > 0
    assert b"referrers,,search," in export.as_csv(shown)
    check_views()


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    """Show the page."""
    from dashboard.views import page  # noqa: PLC0415 - Streamlit runs this function's text as a script of its own

    page.show(feed)


def check_views() -> None:
    """The page shows the chart and the filter."""
    reader = FakeReader([reader_document(referrer="search")])
    feed = Feed(reader=reader, pipeline=FakePipeline(), clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=60).run()
    assert not app.exception, app.exception
    assert "Referrers" in [header.value for header in app.header]
    assert "Referrer" in [select.label for select in app.multiselect]


def check_older_rollup(documents: list[LazyDocument]) -> None:
    """A rollup stored before the field existed is added to, shown and found to differ from a recount."""
    stored = counted(documents[:100]).document()
    del stored["referrers"]
    stored["cells"] = {cell.rpartition("|")[0]: n for cell, n in stored["cells"].items()}

    older = counted(documents[100:], stored)

    assert older.n == len(documents)
    complete = counted(documents)
    assert str(difference(older, complete)).startswith("referrers: ")
    shown = snapshot([older.document()], Filter())
    assert shown.total == len(documents)
    assert bars(shown)["not counted"] == 100
    clicks = snapshot([older.document()], Filter(types=("click",)))
    assert clicks.total == snapshot([complete.document()], Filter(types=("click",))).total
    assert bars(clicks)["not counted"] > 0
    assert "not counted" not in clicks.found.counts.options["referrers"]


if __name__ == "__main__":
    main()
