"""The strip at the top says what is wrong in the pipeline, and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.data.feed import Feed
from dashboard.model.errors import DisconnectedError
from dashboard.model.health import Health, PipelineState, Status, health, unknown
from dashboard.model.signals import Severity, Threshold, Thresholds, signals
from dashboard.model.time_window import to_ms
from tests.support.doubles.dashboard_pipeline import FakePipeline, partition, points, seconds, worker
from tests.support.doubles.dashboard_reader import NOON, FakeReader

LIMITS = Thresholds(
    oldest_waiting_seconds=Threshold(warning=10, critical=100),
    latency_p95_seconds=Threshold(warning=1, critical=10),
    dead_letter_ratio=Threshold(warning=0.0, critical=0.05),
)
GOOD = Health(
    status=Status.LIVE,
    why="Events are coming in.",
    lag_seconds=0.0,
    latency={95: 20.0},
    recent_dead_letters=0,
    recent_dead_letter_share=0.0,
    has_worker=True,
)


def severities(**changes: Any) -> list[Severity]:
    """Return the severity of each signal, where something is not good."""
    return [signal.severity for signal in signals(replace(GOOD, **changes), LIMITS)]


def texts(**changes: Any) -> list[str]:
    """Return the text of each signal, where something is not good."""
    return [signal.text for signal in signals(replace(GOOD, **changes), LIMITS)]


def advice(**changes: Any) -> str:
    """Return all advice, where something is not good."""
    return " ".join(signal.advice for signal in signals(replace(GOOD, **changes), LIMITS)).strip()


def test_nothing_is_wrong() -> None:
    """Then there is nothing to do."""
    assert ["Pipeline live", "Oldest waiting 0 ms", "Latency p95 20 ms", "Dead letters 0 in 15 min"] == texts()
    assert [Severity.GOOD] * 4 == severities()
    assert not advice()


@pytest.mark.parametrize(
    ("changes", "at", "severity"),
    [
        ({"lag_seconds": 9.9}, 1, Severity.GOOD),
        ({"lag_seconds": 10.0}, 1, Severity.WARNING),
        ({"lag_seconds": 100.0}, 1, Severity.CRITICAL),
        ({"lag_seconds": None}, 1, Severity.UNKNOWN),
        ({"latency": {95: 1_000.0}}, 2, Severity.WARNING),
        ({"latency": {95: 10_000.0}}, 2, Severity.CRITICAL),
        ({"latency": {95: None}}, 2, Severity.UNKNOWN),
        ({"recent_dead_letters": 1, "recent_dead_letter_share": 0.0001}, 3, Severity.WARNING),
        ({"recent_dead_letters": 610, "recent_dead_letter_share": 0.05}, 3, Severity.CRITICAL),
        ({"recent_dead_letters": 610, "recent_dead_letter_share": None}, 3, Severity.CRITICAL),
        ({"recent_dead_letters": None, "recent_dead_letter_share": None}, 3, Severity.UNKNOWN),
        ({"status": Status.STALLED}, 0, Severity.CRITICAL),
        ({"status": Status.WAITING}, 0, Severity.WARNING),
        ({"status": Status.UNKNOWN}, 0, Severity.UNKNOWN),
        ({"status": Status.UNKNOWN, "has_worker": False}, 0, Severity.WARNING),
    ],
)
def test_thresholds_decide(changes: dict[str, Any], at: int, severity: Severity) -> None:
    """A value at a threshold has reached it; what is not known is neither good nor bad."""
    found = severities(**changes)

    assert severity == found.pop(at)
    assert [Severity.GOOD] * 3 == found


def test_what_is_wrong_comes_with_what_to_do() -> None:
    """In words that can be copied."""
    assert "`streamapp dlq list`" in advice(recent_dead_letters=610, recent_dead_letter_share=0.5)
    assert "610 (50.0%)" in texts(recent_dead_letters=610, recent_dead_letter_share=0.5)[3]
    assert "`streamapp doctor`" in advice(latency={95: 9_000.0})
    assert "`streamapp doctor`" in advice(lag_seconds=50.0)
    assert "≤ 50.0 s" in texts(lag_seconds=50.0, lag_seconds_is_bound=True)[1]
    assert "`streamapp worker`" in advice(status=Status.STALLED, has_worker=False)
    assert "/readyz" in advice(status=Status.STALLED)


def test_no_worker_is_said_where_none_runs() -> None:
    """With the age of the last heartbeat, if there is one."""
    never = health(PipelineState(has_events=True), NOON)
    gone = health(
        PipelineState(has_events=True, workers=[worker(at=seconds(300))], partitions=[partition(lag=None)]), NOON
    )

    assert ["No worker runs"] * 2 == [signals(each, LIMITS)[0].text for each in (never, gone)]
    assert "No worker runs. Events may be waiting" in never.why
    assert "the last heartbeat was 5 min ago" in gone.why
    waiting = health(PipelineState(has_events=True, partitions=[partition(lag=5, at=seconds(300))]), NOON)
    assert (Status.STALLED, "No worker runs. 5 events were waiting at last.") == (waiting.status, waiting.why)


def test_recent_dead_letters_and_their_share() -> None:
    """Those that were counted in the last 15 minutes, of the records that were settled in this time."""
    minutes = {to_ms(NOON - timedelta(minutes=ago)) // 60_000 * 60_000: 10 for ago in (0, 15, 17)}
    state = PipelineState(dead_letter_minutes=minutes, partitions=[partition(recent=points(0, rate=8.0))])

    found = health(state, NOON)

    assert (20, 20 / (8 * 55)) == (found.recent_dead_letters, found.recent_dead_letter_share)
    assert health(PipelineState(dead_letter_minutes=minutes), NOON).recent_dead_letter_share is None
    assert health(PipelineState(), NOON).recent_dead_letter_share == 0.0
    assert unknown("?").recent_dead_letters is None


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    """Show the page."""
    from dashboard.views import page  # noqa: PLC0415 - Streamlit runs this function's text as a script of its own

    page.show(feed)


@pytest.mark.parametrize("view", ["Events", "Pipeline", "Latest"])
def test_every_view_has_the_strip(view: str) -> None:
    """With advice below it; in an outage, its values are marked as old and have no colour."""
    minutes = {to_ms(NOON) // 60_000 * 60_000: 610}
    pipeline, times = FakePipeline(PipelineState(dead_letter_minutes=minutes, workers=[worker()])), [NOON]
    feed = Feed(pipeline=pipeline, reader=FakeReader(), clock=lambda: times[-1])
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    app.query_params["view"] = view

    shown = [element.value for element in app.run().markdown]
    assert any("red-badge[Dead letters 610 in 15 min]" in text for text in shown)
    assert any("610 records of the last 15 minutes could not be stored" in text for text in shown)

    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")
    times.append(NOON + timedelta(seconds=9))
    app.run()
    shown = [element.value for element in app.markdown]
    assert any("gray-badge[Dead letters 610 in 15 min]" in text for text in shown)
    assert not any("could not be stored" in text for text in shown)
    assert "as of 12:00:30 UTC" == app.caption[0].value
