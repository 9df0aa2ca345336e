"""What became of the events of a step is compared with what was announced: each fault is a problem."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import DatetimeMS

from streamapp.samples.faults import REASONS
from streamapp.scenarios import outcome, scenario_file
from streamapp.scenarios.outcome import Found, SentRecord
from streamapp.scenarios.scenario import STORED, Expect, Step

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
#: Schema → version under the subject.
VERSIONS = {"v1": "v1", "v2": "v2", "v3": "v7"}


def sent(*schemas: str, **facts: Any) -> list[SentRecord]:
    """Return records of these schemas."""
    return [SentRecord(f"id-{n}", schema, facts.get("fault"), 0, n) for n, schema in enumerate(schemas)]


def stored(version: str, **fields: Any) -> dict[str, Any]:
    """Return a document."""
    return {
        "schema_version": version,
        "event_timestamp": int(AT.timestamp() * 1000),
        "kafka": {"timestamp": AT},
        **fields,
    }


def found_problems(expect: Expect, records: list[SentRecord], found: Found) -> list[str]:
    """Return what is not as announced."""
    return [*outcome.problems(expect, records, found, VERSIONS)]


def test_events_under_the_version_of_their_schema_are_right() -> None:
    """The version is that of the registry, whatever the scenario calls the schema."""
    found = Found({"id-0": stored("v1"), "id-1": stored("v7")}, {})

    assert [] == found_problems(Expect(), sent("v1", "v3"), found)


def test_a_lost_event_is_a_problem() -> None:
    """It is neither stored nor dead-lettered."""
    assert ["1 of 2 events of v1 are neither stored nor dead-lettered; announced: stored as v1"] == found_problems(
        Expect(), sent("v1", "v1"), Found({"id-0": stored("v1")}, {})
    )


def test_an_event_under_another_version_is_a_problem() -> None:
    """Or under none."""
    found = Found({"id-0": stored("v1"), "id-1": stored("unregistered")}, {})

    assert [
        "1 of 2 events of v2 are stored as unregistered; announced: stored as v2",
        "1 of 2 events of v2 are stored as v1; announced: stored as v2",
    ] == sorted(found_problems(Expect(), sent("v2", "v2"), found))


def test_a_dead_letter_that_was_not_announced_is_a_problem() -> None:
    """And one that was announced is none."""
    found = Found({}, {"id-0": "incompatible-schema"})

    assert ["1 of 1 events of v2 are dead letters (incompatible-schema); announced: stored as v2"] == found_problems(
        Expect(), sent("v2"), found
    )
    assert [] == found_problems(Expect.model_validate({"fate": {"v2": "incompatible-schema"}}), sent("v2"), found)


def test_a_stored_event_that_should_fail_is_a_problem() -> None:
    """The lesson is wrong, or the pipeline."""
    expect = Expect.model_validate({"fate": {"v2": "incompatible-schema"}})

    assert ["1 of 1 events of v2 are stored as v2; announced: dead letters (incompatible-schema)"] == found_problems(
        expect, sent("v2"), Found({"id-0": stored("v2")}, {})
    )


@pytest.mark.parametrize("fault", REASONS)
def test_an_event_with_a_fault_must_become_its_dead_letter(fault: Any) -> None:
    """As in a drill."""
    records = sent("v2", fault=fault)

    assert [] == found_problems(Expect(), records, Found({}, {"id-0": str(REASONS[fault])}))
    assert [] != found_problems(Expect(), records, Found({"id-0": stored("v2")}, {}))


def test_a_field_that_is_missing_is_a_problem() -> None:
    """Also a nested one; null is a value."""
    expect = Expect(fields={"v2": ["browser", "app.build"]})
    found = Found({"id-0": stored("v2", browser=None, app={"build": 1}), "id-1": stored("v2", app=None)}, {})

    assert [
        "1 of 2 documents of v2 have no field browser",
        "1 of 2 documents of v2 have no field app.build",
    ] == found_problems(expect, sent("v2", "v2"), found)


def test_fields_of_events_that_are_not_stored_cannot_be_seen() -> None:
    """Unless they were announced to fail."""
    found = Found({}, {"id-0": "truncated"})
    expect = Expect.model_validate({"fields": {"v2": ["browser"]}, "fate": {"v2": "truncated"}})

    assert [] == found_problems(expect, sent("v2"), found)
    assert "no event of v2 is stored, so its fields cannot be seen" in found_problems(
        Expect(fields={"v2": ["browser"]}), sent("v2"), found
    )


def test_too_few_late_events_are_a_problem() -> None:
    """By the time between event and record; a record without a timestamp is not late."""
    late = {"timestamp": AT + timedelta(hours=2)}
    documents = {
        "id-0": stored("v1", kafka=late),
        "id-1": stored("v1", kafka={"timestamp": DatetimeMS(int(AT.timestamp() * 1000))}),
        "id-2": stored("v1", kafka={"timestamp": None}),
    }
    records = sent("v1", "v1", "v1")

    assert [] == found_problems(Expect(late=1), records, Found(documents, {}))
    assert ["1 events happened more than an hour before they were sent; announced: at least 2"] == found_problems(
        Expect(late=2), records, Found(documents, {})
    )


def test_fates_are_counted_by_schema() -> None:
    """As the screen shows them."""
    found = Found({"id-0": stored("v1")}, {"id-1": "truncated"})

    assert {
        ("v1", "v1"): 1,
        ("v2", "truncated"): 1,
        ("v2", "neither stored nor dead-lettered"): 1,
    } == outcome.fates(sent("v1", "v2", "v2"), found)


def ideal(step: Step, records: list[SentRecord]) -> Found:
    """Return what a pipeline without a fault makes of the records of a step."""
    documents, dead = {}, {}
    for record in records:
        fate = str(step.expect.fate.get(record.schema, STORED))
        if fate not in {STORED, "unregistered"}:
            dead[record.event_id] = fate
            continue
        document = stored(record.schema if fate == STORED else fate, kafka={"timestamp": AT + timedelta(hours=2)})
        for path in step.expect.fields.get(record.schema, ()):
            *parents, name = path.split(".")
            inner = document
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = None
        documents[record.event_id] = document
    return Found(documents, dead)


STEPS = [
    pytest.param(step, id=f"{name}-{number}")
    for name in scenario_file.lessons()
    for number, step in enumerate(scenario_file.load(name).steps, start=1)
    if step.send
]


@pytest.mark.parametrize("step", STEPS)
def test_each_announcement_of_each_lesson_fails_with_a_fault(step: Step) -> None:
    """A lost event, an event under another version, and a document without an announced field."""
    assert step.send is not None
    records = sent(*step.send.mix, *step.send.mix, *step.send.mix)[: 3 * len(step.send.mix)]
    versions = {name: name for name in step.send.mix}
    # As many as a lesson announces to be late.
    records *= 1 + step.expect.late
    good = ideal(step, records)
    assert [] == [*outcome.problems(step.expect, records, good, versions)]

    first = records[0].event_id
    lost = Found(
        {k: v for k, v in good.documents.items() if k != first}, {k: v for k, v in good.dead.items() if k != first}
    )
    assert [*outcome.problems(step.expect, records, lost, versions)]
    for event_id in good.documents:
        elsewhere = copy.deepcopy(dict(good.documents))
        elsewhere[event_id] |= {"schema_version": "v99"}
        assert [*outcome.problems(step.expect, records, Found(elsewhere, good.dead), versions)]
    for schema, paths in step.expect.fields.items():
        for path in paths:
            without = copy.deepcopy(dict(good.documents))
            victim = next(record.event_id for record in records if record.schema == schema)
            del without[victim][path.partition(".")[0]]
            assert [*outcome.problems(step.expect, records, Found(without, good.dead), versions)]
    if step.expect.late:
        on_time = {k: v | {"kafka": {"timestamp": AT}} for k, v in good.documents.items()}
        assert [*outcome.problems(step.expect, records, Found(on_time, good.dead), versions)]
