"""The records of a manifest compared with documents and dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from bson import DatetimeMS

from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest
from streamapp.verify.checks.manifest_check import ManifestCheck
from tests.support.factories import TOPIC_ID, an_event
from tests.unit.verify.checks.test_manifest import a_run

#: The dead letter of the poison record of `a_run`.
DEAD_LETTERS = {8: SimpleNamespace(reason="tombstone", content=manifest.value_content(None))}
LATE = SimpleNamespace(reason="timestamp-out-of-range", content=b"bytes")


def check(
    run: Manifest,
    documents: Mapping[int, dict[str, Any]],
    committed: int = 9,
    letters: Mapping[int, SimpleNamespace] = DEAD_LETTERS,
) -> tuple[list[str], int]:
    """Return the problems as text, and the number of records that are not committed."""
    stored = {
        f"{TOPIC_ID}-0-{offset}": bson.encode({"schema_version": "v1", **each}) for offset, each in documents.items()
    }

    def find_documents(ids: Sequence[str]) -> Mapping[str, bytes]:
        return {id_: stored[id_] for id_ in ids if id_ in stored}

    dead_lettered = {f"{TOPIC_ID}-0-{offset}": letter for offset, letter in letters.items()}
    manifest_check = ManifestCheck(find_documents=find_documents, dead_lettered=dead_lettered, committed={0: committed})
    return [str(problem) for problem in manifest_check.check(run)], manifest_check.not_settled


GOOD = {5: {**an_event(), "browser": None, "kafka": {}}, 6: an_event(user_id="other", browser=None)}


def test_unchanged_records_have_no_problem() -> None:
    """Two events are stored, one poison record is dead-lettered."""
    assert ([], 0) == check(a_run(), GOOD)


def test_missing_and_differing_records_are_problems() -> None:
    """Missing records have offsets; differing ones only a checksum per kind."""
    missing, _ = check(a_run(), {5: GOOD[5]})
    assert [
        "sent and missing: partition 0, offset 6: sent at now",
        "sent and differing: partition 0, offset 5-8: v1: 2 sent, 1 found",
    ] == missing
    (differing,), _ = check(a_run(), {**GOOD, 6: an_event(user_id="changed")})
    assert "v1: the 2 sent have checksum" in differing


def test_a_stored_event_may_have_a_dead_letter() -> None:
    """It failed before it was replayed."""
    assert ([], 0) == check(a_run(), GOOD, letters={**DEAD_LETTERS, 5: LATE})


def test_a_dead_lettered_event_is_reported_by_its_reason() -> None:
    """It is not reported as the fault with this reason, which the run did not send."""
    problems, _ = check(a_run(), {6: GOOD[6]}, letters={**DEAD_LETTERS, 5: LATE})
    assert [
        "sent and differing: partition 0, offset 5-8: timestamp-out-of-range: 0 sent, 1 found",
        "sent and differing: partition 0, offset 5-8: v1: 2 sent, 1 found",
    ] == problems


def test_a_stored_poison_record_is_compared_by_its_dead_letter() -> None:
    """A good event may have failed for the same reason."""
    run = Manifest(topic="user_events", topic_id=TOPIC_ID, started_at="now")
    run.add(0, "v1", 5, manifest.event_content(an_event()))
    run.add(0, "future", 6, manifest.value_content(b"far"))
    far = SimpleNamespace(reason="timestamp-out-of-range", content=manifest.value_content(b"far"))
    assert ([], 0) == check(run, {5: GOOD[5], 6: an_event()}, letters={5: LATE, 6: far})


def test_a_poison_record_without_a_dead_letter_is_a_problem() -> None:
    """It counts as an event of its version."""
    problems, _ = check(a_run(), {**GOOD, 8: GOOD[5]}, letters={})
    assert [
        "sent and differing: partition 0, offset 5-8: null: 1 sent, 0 found",
        "sent and differing: partition 0, offset 5-8: v1: 2 sent, 3 found",
    ] == problems


def test_a_date_out_of_the_range_of_python_is_compared() -> None:
    """A document may have any BSON date."""
    (differing,), _ = check(a_run(), {**GOOD, 6: an_event(user_id="other", event_timestamp=DatetimeMS(2**60))})
    assert "v1: the 2 sent have checksum" in differing


def test_records_that_are_not_committed_are_not_checked() -> None:
    """They are counted."""
    assert ([], 2) == check(a_run(), {}, committed=6)


@pytest.mark.parametrize(
    ("started_at", "aged_out"), [("2026-01-01T00:00:00+00:00", 1), ("2026-03-01T00:00:00+00:00", 0)]
)
def test_missing_events_that_may_have_aged_out_are_counted(started_at: str, aged_out: int) -> None:
    """They are no problem; the checksums of their partition cannot be compared."""
    run = replace(a_run(), started_at=started_at)
    manifest_check = ManifestCheck(
        find_documents=lambda _: {},
        dead_lettered={f"{TOPIC_ID}-0-{offset}": letter for offset, letter in {5: LATE, **DEAD_LETTERS}.items()},
        committed={0: 9},
        aged_out_before=datetime(2026, 2, 1, tzinfo=UTC),
    )

    problems = [*manifest_check.check(run)]

    assert (aged_out, not aged_out) == (manifest_check.aged_out, bool(problems))
