"""What a comparison finds: sets of offsets, likeness of documents, and words for it."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import DatetimeMS

from streamapp.decode import document
from streamapp.model.record import origin_of
from streamapp.verify.checks import document_diff, offsets
from streamapp.verify.checks.offsets import Bits, Runs
from streamapp.verify.checks.verdict import PartitionFates, Problem, Verdict
from tests.support.factories import TOPIC_ID, V1, V2, a_record, an_event

SCHEMAS = {1: V1, 2: V2}


def test_bits_hold_what_was_added() -> None:
    bits = Bits(10, 30)
    for offset in (10, 17, 29):
        bits.add(offset)
    assert [10, 17, 29] == [offset for offset in range(40) if offset in bits]


def test_runs_are_merged_counted_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "MOST_RUNS", 3)
    monkeypatch.setattr(offsets, "MOST_NOTES", 1)
    runs = Runs()
    for offset in (5, 6, 9, 7, 50):
        runs.add(offset, "why")
    assert (5, [(5, 7), (9, 9)], {5: "why"}) == (runs.n, runs.runs, runs.notes)
    assert ["5-7", "9"] == [offsets.spelled(run) for run in runs.runs]
    assert (["6-7", "9"], 1) == ([offsets.spelled(run) for run in runs.without_notes], runs.counted_only)


def test_an_offset_is_looked_for_in_runs() -> None:
    runs = [(3, 3), (5, 7), (9, 20)]
    assert [3, 5, 6, 7, 9, 20] == [
        offset for offset in (0, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21) if offsets.has(runs, offset)
    ]
    assert not offsets.has([], 0)


@pytest.mark.parametrize(
    ("noted", "others"),
    [
        ([50], [(0, 49), (51, 99)]),
        ([0, 99], [(1, 98)]),
        ([98, 3, 4], [(0, 2), (5, 97), (99, 99)]),
        ([*range(100)], []),
    ],
)
def test_runs_go_on_around_what_has_a_reason(noted: list[int], others: list[offsets.Run]) -> None:
    runs = Runs()
    for offset in range(100):
        runs.add(offset)
    for offset in noted:
        runs.notes[offset] = "why"
    assert others == [*runs.without_notes]


def stored(**changes: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return a record, its origin and its document."""
    record = a_record(an_event(browser="x"))
    origin = origin_of(record, TOPIC_ID)
    made = document.build(
        an_event(browser="x"),
        writer=V2,
        origin=origin,
        received_at=document_diff._SOME_TIME,
        times=document_diff._ANY_TIME,
    )
    return record, origin, bson.decode(bson.encode(made)) | changes


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, None),
        ({"schema_version": "unregistered"}, None),
        ({"browser": "y", "more": 1}, "browser, more differ"),
        ({"received_at": 7}, "received_at differs"),
        ({"kafka": 7}, "kafka differs"),
        ({"event_timestamp": 7.0}, "event_timestamp differs"),
        ({"event_timestamp": DatetimeMS(2**60)}, "event_timestamp differs"),
    ],
)
def test_fields_that_differ_are_named(changes: dict[str, Any], wrong: str | None) -> None:
    record, origin, found = stored(**changes)
    assert wrong == document_diff.difference(bson.encode(found), record, origin, SCHEMAS)


def test_the_mark_of_an_event_apart_is_no_difference() -> None:
    record, origin, found = stored()
    found["kafka"]["apart"] = True
    assert document_diff.difference(bson.encode(found), record, origin, SCHEMAS) is None
    found["kafka"]["apart"] = "very"
    assert document_diff.difference(bson.encode(found), record, origin, SCHEMAS) == "kafka differs"


def test_a_field_that_is_there_twice_differs() -> None:
    """Whoever reads the document may see either."""
    record, origin, found = stored()
    raw, twice = bson.encode(found), bson.encode({"user_id": "EVIL"})[4:-1]
    at = raw.index(b"\x02user_id")
    doubled = (len(raw) + len(twice)).to_bytes(4, "little") + raw[4:at] + twice + raw[at:]
    assert bson.decode(doubled) == found
    assert document_diff.difference(doubled, record, origin, SCHEMAS) == "its fields differ"


def test_what_is_no_text_differs() -> None:
    record, origin, found = stored()
    raw = bson.encode(found).replace(found["user_id"].encode(), b"\xff" * len(found["user_id"]))
    assert document_diff.difference(raw, record, origin, SCHEMAS) == "user_id differs"


def test_a_poison_that_is_stored_differs() -> None:
    record = a_record(value=b"")
    why = document_diff.difference(bson.encode({}), record, origin_of(record, TOPIC_ID), SCHEMAS)
    assert why == "stored, but its record is no event (empty)"


def test_ids_are_read_from_raw_batches() -> None:
    batch = bson.encode({"_id": "é-1"}) + bson.encode({"_id": 7}) + bson.encode({"_id": "?"}).replace(b"?", b"\xff")
    assert ["é-1", "7", "\ufffd"] == [document_diff.id_in(raw) for raw in document_diff.documents_in(batch)]


def test_a_verdict_tells_runs_and_reasons() -> None:
    fates = PartitionFates(partition=3, records=4, stored=1)
    verdict = Verdict(partition_ids=[fates])
    assert (True, False) == (verdict.is_good, fates.is_settled)
    for offset in (7, 8, 9):
        fates.missing.add(offset)
    fates.differing.add(20, "browser differs")
    verdict.others.append(Problem("count", None, "", "is wrong"))
    assert (False, True) == (verdict.is_good, fates.is_settled)
    assert [
        "missing: partition 3, offset 7-9",
        "differing: partition 3, offset 20: browser differs",
        "count: is wrong",
    ] == [str(problem) for problem in verdict.problems()]
    assert (3, 1) == (verdict.totals()["missing"], verdict.totals()["differing"])


def test_what_lies_in_no_partition_says_so() -> None:
    nowhere = PartitionFates(partition=None)
    nowhere.extra.add(5, "there is no partition 7")
    nowhere.extra.add(6)
    assert ["extra: there is no partition 7", "extra: in no partition, offset 6"] == [*map(str, nowhere.problems())]


def test_what_has_no_offset_is_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "MOST_NOTES", 2)
    nowhere = PartitionFates(partition=None)
    for id_ in ("a", "b", "c", "d"):
        nowhere.extra.add_placeless(id_)
    nowhere.extra.add(5)
    assert ["extra: a", "extra: b", "extra: in no partition, offset 5", "extra: 2 more"] == [
        *map(str, nowhere.problems())
    ]


def test_no_offset_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of a run in which one has a reason, nor those past the runs that are kept."""
    monkeypatch.setattr(offsets, "MOST_RUNS", 1)
    fates = PartitionFates(partition=0)
    for offset in range(100):
        fates.missing.add(offset, "a replay" if offset == 7 else "")
    for offset in (200, 300):
        fates.missing.add(offset)
    assert [
        "missing: partition 0, offset 7: a replay",
        "missing: partition 0, offset 0-6",
        "missing: partition 0, offset 8-99",
        "missing: partition 0, offset …: 2 more",
    ] == [str(problem) for problem in fates.problems()]
