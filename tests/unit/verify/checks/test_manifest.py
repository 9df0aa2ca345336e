"""What was sent, as a ledger keeps it, and how it is proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from bson import DatetimeMS

from streamapp.verify import manifest_file
from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest, NoManifestError, Sum
from streamapp.verify.checks.manifest_check import ManifestCheck
from tests.support.factories import TOPIC_ID, an_event


def a_run() -> Manifest:
    """Return a run of two events and a poison in partition 0, with a gap before the last."""
    run = Manifest(topic="user_events", topic_id=TOPIC_ID, started_at="now")
    run.add(0, "v1", 5, manifest.of_event(an_event()))
    run.add(0, "v1", 6, manifest.of_event(an_event(user_id="other")))
    run.add(0, "null", 8, manifest.of_value(None))
    return run


#: Of the poison that `a_run` sends.
BURIED = {8: SimpleNamespace(reason="tombstone", content=manifest.of_value(None))}
LATE = SimpleNamespace(reason="timestamp-out-of-range", content=b"bytes")


def found(
    run: Manifest,
    documents: Mapping[int, dict[str, Any]],
    committed: int = 9,
    letters: Mapping[int, SimpleNamespace] = BURIED,
) -> tuple[list[str], int]:
    """Return what is wrong, in words, and how many records are not settled."""
    stored = {
        f"{TOPIC_ID}-0-{offset}": bson.encode({"schema_version": "v1", **each}) for offset, each in documents.items()
    }

    def ask(ids: Sequence[str]) -> Mapping[str, bytes]:
        return {id_: stored[id_] for id_ in ids if id_ in stored}

    dead_lettered = {f"{TOPIC_ID}-0-{offset}": letter for offset, letter in letters.items()}
    manifest_check = ManifestCheck(stored=ask, dead_lettered=dead_lettered, committed={0: committed})
    return [str(problem) for problem in manifest_check.judge(run)], manifest_check.not_settled


GOOD = {5: {**an_event(), "browser": None, "kafka": {}}, 6: an_event(user_id="other", browser=None)}


def test_a_line_says_all_of_a_run() -> None:
    run = a_run()
    assert [run] == manifest.parse([manifest.line_of(run)])
    assert ([(5, 6), (8, 8)], [(8, 8)]) == (run.partitions[0].offsets, run.partitions[0].poisons)


def test_a_line_has_offsets_in_order() -> None:
    run = a_run()
    run.add(0, "v1", 7, b"acknowledged late")
    (parsed,) = manifest.parse([manifest.line_of(run)])
    assert [(5, 6), (7, 7), (8, 8)] == parsed.partitions[0].offsets


def test_the_order_of_acknowledgements_does_not_matter() -> None:
    one, other = Sum(), Sum()
    for offset in (1, 2, 3):
        one.add(offset, b"x")
    for offset in (3, 1, 2):
        other.add(offset, b"x")
    assert one == other
    other.add(4, b"x")
    assert one != other


@pytest.mark.parametrize("line", ["", "{", "7", "{}", '{"format": "streamapp ledger 2"}', "[" * 100_000])
def test_what_is_no_ledger_is_named_by_its_line(line: str) -> None:
    with pytest.raises(NoManifestError, match=r"line 2 is not what `send-sample --ledger` writes"):
        manifest.parse([manifest.line_of(a_run()), line])


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
def test_a_line_that_says_what_cannot_be_is_refused(old: str, new: str) -> None:
    line = manifest.line_of(a_run())
    assert old in line
    with pytest.raises(NoManifestError, match="line 1 is not"):
        manifest.parse([line.replace(old, new)])


def test_a_line_of_another_format_is_no_ledgers() -> None:
    with pytest.raises(NoManifestError):
        manifest.parse([manifest.line_of(a_run()).replace(manifest.FORMAT, "streamapp ledger 9")])


def test_runs_are_added_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    manifest_file.append(path, a_run())
    manifest_file.append(path, a_run())
    assert [a_run(), a_run()] == manifest_file.read(path)
    assert [path] == [*tmp_path.iterdir()]


@pytest.mark.parametrize(("content", "why"), [(b"\xff", "it is no text"), (b"", "it holds no run")])
def test_a_file_without_a_run_is_no_ledger(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    path.write_bytes(content)
    with pytest.raises(NoManifestError, match=why):
        manifest_file.read(path)


def test_a_link_to_a_ledger_stays_one(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.jsonl"
    link.symlink_to("far/sent.jsonl")
    manifest_file.append(link, a_run())
    assert link.is_symlink()
    assert [a_run()] == manifest_file.read(tmp_path / "far" / "sent.jsonl")


def test_trying_a_ledger_out_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name in ("empty.jsonl", "new.jsonl"):
        manifest_file.try_out(tmp_path / name)
    assert [tmp_path / "empty.jsonl"] == [*tmp_path.iterdir()]


def test_what_runs_cannot_be_added_to_is_refused(tmp_path: Path) -> None:
    """A folder that takes no files or is not there, what is no file, another file."""
    other = tmp_path / "other.txt"
    other.write_text("mine")
    for path in (Path("/proc/x.jsonl"), tmp_path / "none" / "x.jsonl"):
        with pytest.raises(OSError, match="No such file"):
            manifest_file.try_out(path)
    for path in (Path("/dev/null"), tmp_path, other):
        with pytest.raises(NoManifestError):
            manifest_file.try_out(path)
    assert [other] == [*tmp_path.iterdir()]


def test_what_is_there_as_it_was_sent_is_proven() -> None:
    assert ([], 0) == found(a_run(), GOOD)


def test_what_is_missing_or_differs_is_told() -> None:
    missing, _ = found(a_run(), {5: GOOD[5]})
    assert [
        "sent and missing: partition 0, offset 6: sent at now",
        "sent and differing: partition 0, offset 5-8: v1: 2 sent, 1 found",
    ] == missing
    (differing,), _ = found(a_run(), {**GOOD, 6: an_event(user_id="changed")})
    assert "v1: the checksum of the 2 sent is" in differing


def test_a_good_event_that_had_failed_is_proven_once_it_is_stored() -> None:
    assert ([], 0) == found(a_run(), GOOD, letters={**BURIED, 5: LATE})


def test_a_good_event_that_has_failed_is_told_by_its_reason() -> None:
    """And not by the fault that fails so, which nobody sent."""
    problems, _ = found(a_run(), {6: GOOD[6]}, letters={**BURIED, 5: LATE})
    assert [
        "sent and differing: partition 0, offset 5-8: timestamp-out-of-range: 0 sent, 1 found",
        "sent and differing: partition 0, offset 5-8: v1: 2 sent, 1 found",
    ] == problems


def test_a_poison_that_is_stored_by_now_is_proven_by_its_dead_letter() -> None:
    """Also where good events had failed for the same reason."""
    run = Manifest(topic="user_events", topic_id=TOPIC_ID, started_at="now")
    run.add(0, "v1", 5, manifest.of_event(an_event()))
    run.add(0, "future", 6, manifest.of_value(b"far"))
    far = SimpleNamespace(reason="timestamp-out-of-range", content=manifest.of_value(b"far"))
    assert ([], 0) == found(run, {5: GOOD[5], 6: an_event()}, letters={5: LATE, 6: far})


def test_a_poison_without_a_dead_letter_is_told() -> None:
    problems, _ = found(a_run(), {**GOOD, 8: GOOD[5]}, letters={})
    assert [
        "sent and differing: partition 0, offset 5-8: null: 1 sent, 0 found",
        "sent and differing: partition 0, offset 5-8: v1: 2 sent, 3 found",
    ] == problems


def test_documents_that_hold_what_python_has_not_are_judged() -> None:
    (differing,), _ = found(a_run(), {**GOOD, 6: an_event(user_id="other", event_timestamp=DatetimeMS(2**60))})
    assert "v1: the checksum of the 2 sent is" in differing


def test_what_is_not_settled_is_not_judged() -> None:
    assert ([], 2) == found(a_run(), {}, committed=6)
