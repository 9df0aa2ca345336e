"""Runs of `send-sample` as lines of a manifest file."""

from __future__ import annotations

import pytest

from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, NoManifestError, RecordsDigest
from tests.support.factories import TOPIC_ID, an_event


def a_run() -> Manifest:
    """Return a run of two events and, after a gap, a poison record in partition 0."""
    run = Manifest(topic="user_events", topic_id=TOPIC_ID, started_at="now")
    run.add(0, "v1", 5, manifest.event_content(an_event()))
    run.add(0, "v1", 6, manifest.event_content(an_event(user_id="other")))
    run.add(0, "null", 8, manifest.value_content(None))
    return run


def test_a_run_is_read_from_its_line() -> None:
    """The line has offsets, kinds, counts and checksums."""
    run = a_run()
    assert [run] == manifest.parse([manifest.to_line(run)])
    assert ([(5, 6), (8, 8)], [(8, 8)]) == (run.partitions[0].offsets, run.partitions[0].poisons)


def test_a_line_has_offsets_in_order() -> None:
    """Kafka may acknowledge records in another order."""
    run = a_run()
    run.add(0, "v1", 7, b"acknowledged late")
    (parsed,) = manifest.parse([manifest.to_line(run)])
    assert [(5, 6), (7, 7), (8, 8)] == parsed.partitions[0].offsets


def test_a_digest_does_not_depend_on_the_order() -> None:
    """Kafka may acknowledge records in another order than `verify` reads them."""
    one, other = RecordsDigest(), RecordsDigest()
    for offset in (1, 2, 3):
        one.add(offset, b"x")
    for offset in (3, 1, 2):
        other.add(offset, b"x")
    assert one == other
    other.add(4, b"x")
    assert one != other


@pytest.mark.parametrize("line", ["", "{", "7", "{}", '{"format": "streamapp ledger 2"}', "[" * 100_000])
def test_an_invalid_line_is_reported_by_number(line: str) -> None:
    """It may be empty, truncated, or another JSON value."""
    with pytest.raises(NoManifestError, match=r"line 2 is not a line of `send-sample --manifest`"):
        manifest.parse([manifest.to_line(a_run()), line])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"unacknowledged": 0', '"unacknowledged": Infinity'),
        ('"count": 2', '"count": Infinity'),
        ('"count": 2', '"count": 3'),
        ("[[5, 6], [8, 8]]", "[]"),
        ("[[5, 6], [8, 8]]", "[[6, 5], [8, 10]]"),
        ("[[5, 6], [8, 8]]", "[[-10000000000000, 6], [8, 8]]"),
        ("[[5, 6], [8, 8]]", "[[8, 8], [5, 6]]"),
        ("[[5, 6], [8, 8]]", "[[5, 6], [6, 6]]"),
        ("[[5, 6], [8, 8]]", "[[5, 6], [8]]"),
    ],
)
def test_inconsistent_numbers_are_refused(old: str, new: str) -> None:
    """A manual edit can make counts, ranges or numbers impossible."""
    line = manifest.to_line(a_run())
    assert old in line
    with pytest.raises(NoManifestError, match="line 1 is not"):
        manifest.parse([line.replace(old, new)])


def test_another_format_version_is_refused() -> None:
    """A later release may write another format."""
    with pytest.raises(NoManifestError):
        manifest.parse([manifest.to_line(a_run()).replace(manifest.FORMAT, "streamapp ledger 9")])
