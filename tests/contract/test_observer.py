"""What the sink expects of its observer; the fake and the metrics pass the same tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from streamapp.model.record import Reason
from streamapp.monitoring.sink_metrics import SinkMetrics
from streamapp.sink.ports import ObserverPort
from tests.support.doubles.ports import FakeObserver
from tests.support.factories import a_letter, a_record


class Subject:
    """An observer, and what it has counted."""

    def __init__(self, observer: ObserverPort, counts: Callable[[], dict[str, float]]) -> None:
        self.observer = observer
        self.counts = counts


@pytest.fixture(params=["fake", "metrics"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Return each in turn."""
    if request.param == "fake":
        fake = FakeObserver()
        return Subject(fake, lambda: of_fake(fake))
    metrics = SinkMetrics()
    return Subject(metrics, lambda: of_metrics(metrics))


def of_fake(fake: FakeObserver) -> dict[str, float]:
    """Return the counts of the fake."""
    counts = Counter[str](version for _, version in fake.new)
    counts.update(reason for _, reasons in fake.batches for reason in reasons)
    totals = {"batches": len(fake.batches), "records": sum(records for records, _ in fake.batches)}
    inserts = {"inserts": len(fake.inserts), "seconds": sum(fake.inserts)}
    return {name: n for name, n in {**counts, **totals, **inserts}.items() if n}


def of_metrics(metrics: SinkMetrics) -> dict[str, float]:
    """Return the same counts of the metrics."""
    names = {
        "streamapp_slice_records_count": "batches",
        "streamapp_slice_records_sum": "records",
        "streamapp_insert_seconds_count": "inserts",
        "streamapp_insert_seconds_sum": "seconds",
    }
    histograms = (metrics.batch_records, metrics.insert_seconds)
    samples = [sample for histogram in histograms for family in histogram.collect() for sample in family.samples]
    totals = {names[sample.name]: sample.value for sample in samples if sample.name in names}
    return {name: n for name, n in {**metrics.events, **metrics.dead_letters, **totals}.items() if n}


def test_stored_events_are_counted_by_schema_version(subject: Subject) -> None:
    """Over all calls."""
    subject.observer.stored([a_record(offset=0), a_record(offset=1)], ["v1", "v2"])
    subject.observer.stored([a_record(offset=2)], ["v2"])

    assert {"v1": 1, "v2": 2} == subject.counts()


def test_settled_batches_are_counted_with_their_dead_letters(subject: Subject) -> None:
    """The dead letters by reason."""
    records = [a_record(offset=offset) for offset in range(3)]
    subject.observer.settled(records, [a_letter(Reason.EMPTY), a_letter(Reason.EMPTY)])
    subject.observer.settled(records[:1], [])

    assert {"batches": 2, "records": 4, "empty": 2} == subject.counts()


def test_inserts_are_counted_with_their_duration(subject: Subject) -> None:
    """In seconds."""
    subject.observer.inserted(0.25)
    subject.observer.inserted(2)

    assert {"inserts": 2, "seconds": 2.25} == subject.counts()
