"""What was sent, as a ledger keeps it, and how it is proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bson
import pytest

from streamapp.verify import ledger_file, sent
from streamapp.verify.proof import Proof
from streamapp.verify.sent import NoLedgerError, Sent, Sum
from tests.factories import INCARNATION, an_event


def a_run() -> Sent:
    """Return a run of two events and a poison in partition 0, with a gap before the last."""
    run = Sent(topic="user_events", incarnation=INCARNATION, started_at="now")
    run.add(0, "v1", 5, sent.of_event(an_event()))
    run.add(0, "v1", 6, sent.of_event(an_event(user_id="other")))
    run.add(0, "null", 8, sent.of_value(None))
    return run


def found(run: Sent, documents: Mapping[int, dict[str, Any]], committed: int = 9) -> tuple[list[str], int]:
    """Return what is wrong, in words, and how many records are not settled."""
    stored = {
        f"{INCARNATION}-0-{offset}": bson.encode({"schema_version": "v1", **each}) for offset, each in documents.items()
    }

    def ask(ids: Sequence[str]) -> Mapping[str, bytes]:
        return {id_: stored[id_] for id_ in ids if id_ in stored}

    buried = {f"{INCARNATION}-0-8": SimpleNamespace(reason="tombstone", content=sent.of_value(None))}
    proof = Proof(stored=ask, buried=buried, committed={0: committed})
    return [str(problem) for problem in proof.judge(run)], proof.not_settled


GOOD = {5: {**an_event(), "browser": None, "kafka": {}}, 6: an_event(user_id="other", browser=None)}


def test_a_line_says_all_of_a_run() -> None:
    run = a_run()
    assert [run] == sent.parse([sent.line_of(run)])
    assert [(5, 6), (8, 8)] == run.partitions[0].offsets


def test_the_order_of_acknowledgements_does_not_matter() -> None:
    one, other = Sum(), Sum()
    for offset in (1, 2, 3):
        one.add(offset, b"x")
    for offset in (3, 1, 2):
        other.add(offset, b"x")
    assert one == other
    other.add(4, b"x")
    assert one != other


@pytest.mark.parametrize("line", ["", "{", "7", "{}", '{"format": "streamapp ledger 1"}'])
def test_what_is_no_ledger_is_named_by_its_line(line: str) -> None:
    with pytest.raises(NoLedgerError, match=r"line 2 is not what `send-sample --ledger` writes"):
        sent.parse([sent.line_of(a_run()), line])


def test_a_line_of_another_format_is_no_ledgers() -> None:
    with pytest.raises(NoLedgerError):
        sent.parse([sent.line_of(a_run()).replace(sent.FORMAT, "streamapp ledger 9")])


def test_runs_are_added_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    ledger_file.append(path, a_run())
    ledger_file.append(path, a_run())
    assert [a_run(), a_run()] == ledger_file.read(path)
    assert [path] == [*tmp_path.iterdir()]
    path.write_bytes(b"\xff")
    with pytest.raises(NoLedgerError):
        ledger_file.read(path)


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


def test_what_is_not_settled_is_not_judged() -> None:
    assert ([], 2) == found(a_run(), {}, committed=6)
