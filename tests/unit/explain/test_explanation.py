"""Which rollups must count a document, and what would happen to a dead letter now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamapp.compatibility.validity import parse
from streamapp.decode.document import EventTimes
from streamapp.evolution.sources import NamedSchema
from streamapp.explain.explanation import (
    Diagnosis,
    Explanation,
    Fate,
    SchemaFacts,
    bucket_ids,
    bucket_of,
    diagnose,
)
from streamapp.explain.reasons import ADVICE
from streamapp.model import event
from streamapp.model.record import Origin, Reason
from streamapp.rollups.levels import LEVELS
from tests.support.factories import NOW, TOPIC_ID, V1, V2, an_event, wire

PLACE = {"topic": "user_events", "partition": 2, "offset": 7}
STORED = {"_id": f"{TOPIC_ID}-2-7", **an_event(), "browser": None, "kafka": PLACE}
ORIGIN = Origin("user_events", 2, 7, NOW, TOPIC_ID)
MINUTE = LEVELS[0]
TIMES = EventTimes(earliest=0, ahead=1_000)
AT = datetime.fromtimestamp(NOW / 1000, UTC)


def named(version: int) -> NamedSchema:
    """Return a schema of this repository."""
    schema = event.schema(version)
    return NamedSchema(label=f"v{version}", parsed=parse(schema), json=schema)


def test_a_document_is_counted_in_one_rollup_of_each_level() -> None:
    """By partition and event time."""
    assert {level: f"{TOPIC_ID}:2:{level.start_of(NOW)}" for level in LEVELS} == bucket_ids(STORED)


def test_a_document_without_a_time_is_in_no_bucket() -> None:
    """Another program may have changed it."""
    assert {} == bucket_ids({**STORED, "event_timestamp": "yesterday"})


@pytest.mark.parametrize(
    ("rollup", "place", "n", "counts_it"),
    [
        (None, PLACE, None, False),
        ({"n": 3, "offset": 7}, PLACE, 3, True),
        ({"n": 3, "offset": 6}, PLACE, 3, False),
        ({"n": 3, "offset": 6}, {**PLACE, "apart": True}, 3, True),
    ],
)
def test_a_rollup_counts_what_it_has_read(
    rollup: dict[str, int] | None, place: dict[str, int], n: int | None, counts_it: bool
) -> None:
    """Its offset says up to where; an event out of order was counted when it was stored."""
    assert (MINUTE, "id", n, counts_it) == bucket_of(MINUTE, "id", rollup, {**STORED, "kafka": place})


def test_a_dead_letter_that_can_be_read_now() -> None:
    """Its schema was registered meanwhile, for example."""
    value = wire(an_event(browser="opera"))

    assert Diagnosis(None, ["v2"]) == diagnose(value, ORIGIN, {2: V2}, [V1, V2], times=TIMES, now=AT)


def test_a_dead_letter_with_a_wrong_schema_id_fits_another_version() -> None:
    """V1 bytes under the id of V2."""
    value = wire(an_event(), schema_id=2)
    found = diagnose(value, ORIGIN, {2: V2}, [V1, V2], times=TIMES, now=AT)

    assert ["v1"] == found.fits
    assert found.problem is not None
    assert "browser" in found.problem


def test_a_dead_letter_whose_time_is_out_of_range_fails_again() -> None:
    """With the limits of now."""
    value = wire(an_event(event_timestamp=NOW + 86_400_000_000))

    assert "event_timestamp" in str(diagnose(value, ORIGIN, {1: V1}, [], times=TIMES, now=AT).problem)


def test_a_dead_letter_without_value_fits_nothing() -> None:
    """A tombstone."""
    assert [] == diagnose(None, ORIGIN, {}, [V1], times=TIMES, now=AT).fits


def test_the_schemas_are_compared() -> None:
    """Writer and latest, where both are known."""
    facts = SchemaFacts(writer=V1, named=named(1), latest=named(2))
    unknown = SchemaFacts(writer=V1, named=named(1), latest=None)

    assert "browser" in [change.path for change in facts.changes()]
    assert {"BACKWARD", "FORWARD"} <= {*facts.levels()}
    assert ([], []) == (unknown.changes(), unknown.levels())


def test_the_changes_of_the_reader_need_document_and_schema() -> None:
    """A dead letter has no document."""
    explanation = Explanation(event_id="x", origin=ORIGIN, fate=Fate.DEAD_LETTER)
    assert [] == explanation.reader_changes()

    explanation.document = STORED
    for latest in (named(2), None):
        explanation.schema = SchemaFacts(writer=V1, named=named(1), latest=latest)
        assert [("added", "browser", None, None)] == explanation.reader_changes()


def test_there_is_advice_for_each_reason() -> None:
    """`explain` and the reference show it."""
    assert {*Reason} == ADVICE.keys()
