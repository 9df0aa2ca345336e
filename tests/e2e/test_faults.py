"""A fault drill against a real worker."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from pymongo.database import Database

from streamapp.samples.faults import REASONS, Fault
from streamapp.settings import Settings
from tests.e2e.test_foreign_events import counted, letter_reason
from tests.support import foreign
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, run

COUNT, SHARE = 1_000, 0.04
START = "2026-01-31T12:00:00Z"


def test_each_fault_has_the_outcome_that_the_report_counts(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """All faults in one run: the counts sent by fault equal the documents stored and the dead letters by reason."""
    settings = settings.model_copy(update={"produce_interval_seconds": 0})
    shares = ",".join(f"{fault}={SHARE}" for fault in Fault)
    options = ("--count", str(COUNT), "--seed", "5", "--start", START, "--rate", "1000", "--faults", shares, "--json")
    done = run(STREAMAPP, "send-sample", *options, settings=settings)
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)
    bad = {reason.value: sent[fault] for fault, reason in REASONS.items()}
    good = sent["v1"] + sent["v2"]
    with Worker(settings, tmp_path) as worker:
        until(lambda: database.events.count_documents({}) >= good, within=90, what=f"{good} documents")
        until(lambda: counted(database).total() >= sum(bad.values()), what="counted dead letters")
        assert worker.stop() == 0, worker.text

    assert sent["sent"] == sent["acknowledged"] == good + sum(bad.values()) == COUNT + sent["duplicate"]
    assert all(sent[fault] for fault in Fault)
    letters = foreign.read_all(settings, settings.dead_letter_topic, sum(bad.values()))
    assert bad == Counter(map(letter_reason, letters)) == counted(database)
    documents = [*database.events.find()]
    assert good == len(documents)
    start = datetime.fromisoformat(START).timestamp() * 1000
    assert sent["late"] == sum(document["event_timestamp"] <= start - 3_600_000 + COUNT for document in documents)
    assert sent["duplicate"] == sum(n == 2 for n in same_events(documents).values())


def same_events(documents: list[dict[str, Any]]) -> Counter[str]:
    """Return how often each event is stored, whatever its partition and offset."""
    ours = ("_id", "received_at", "kafka")
    return Counter(repr({name: value for name, value in each.items() if name not in ours}) for each in documents)
