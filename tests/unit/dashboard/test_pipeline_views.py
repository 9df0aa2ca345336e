"""Every state of the pipeline's view, run by Streamlit without a browser."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from streamlit.testing.v1 import AppTest

from dashboard.data.feed import Feed
from dashboard.model.errors import DisconnectedError
from dashboard.model.health import PipelineState, Status
from tests.support.doubles.dashboard_pipeline import FakePipeline, partition, points, seconds, worker
from tests.support.doubles.dashboard_reader import NOON, FakeReader

KOLKATA = ZoneInfo("Asia/Kolkata")


def health_script(feed: "Any", zone: "Any") -> None:  # noqa: UP037 - its text is run where no name is known
    from dashboard.views import pipeline as view  # noqa: PLC0415 - likewise

    view.show(feed.pipeline_reading(), feed, zone)


def shown(pipeline: FakePipeline, **parameters: str) -> AppTest:
    feed = Feed(pipeline=pipeline, reader=FakeReader(), clock=lambda: NOON)
    app = AppTest.from_function(health_script, args=(feed, KOLKATA), default_timeout=120)
    app.query_params.update(parameters)
    app.run()
    assert not app.exception
    return app


def cards(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def sample(**changes: Any) -> dict[str, Any]:
    """Return what is kept of the last record of a reason."""
    return {"topic": "t.x", "partition": 1, "offset": 7, **changes}


def test_pipeline_that_works() -> None:
    """Numbers with their units, and tables of what was seen."""
    counts = [0.0] * 19
    counts[4] = 10
    state = PipelineState(
        partitions=[partition(lag=1_234, lag_seconds=2.5, recent=points(1_234, rate=10))],
        workers=[
            worker(rate=10.0, duplicates=3, counts=counts, memory_bytes=2**26, started_at=seconds(60)),
            worker("old", at=seconds(60)),
        ],
        dead_letters=[
            {"_id": "undecodable", "n": 2, "last_at": NOON, "sample": sample(error="*broken*", schema_id=12)},
            {"_id": "refused-by-store", "n": 1, "last_at": NOON, "sample": sample(error=None, schema_id=13)},
            {"_id": "empty", "n": 1, "last_at": NOON, "sample": sample(error="no bytes", schema_id=None)},
            {"_id": "tombstone", "n": 1, "last_at": NOON, "sample": sample()},
            {"_id": "truncated", "n": 0},
        ],
        schemas=[{"version": 2, "schema_id": 12}],
        has_events=True,
        last_received_at=seconds(3),
    )

    app = shown(FakePipeline(state))

    assert {
        "Last event": "3 s ago",
        "Waiting messages": "1,234",
        "Oldest waiting": "2.5 s",
        "Throughput": "10.0 /s",
        "Latency p50": "75 ms",
        "Latency p95": "98 ms",
        "Latency p99": "100 ms",
        "Duplicates skipped": "3",
    } == cards(app)
    assert "Events are coming in\\." == app.markdown[0].value
    (workers,) = (table.value for table in app.dataframe)
    assert [
        ["host-1-ab", "2 s ago", 3, "10.0 /s", "64.0 MiB", "58 s"],
        ["old", "gone: 60 s ago", 3, "unknown", "unknown", "unknown"],
    ] == workers.to_numpy().tolist()
    letters = {each.label: "\n".join(text.value for text in (*each.markdown, *each.code)) for each in app.expander}
    assert [
        "undecodable · 2 · last 17:30:30",
        "refused-by-store · 1 · last 17:30:30",
        "empty · 1 · last 17:30:30",
        "tombstone · 1 · last 17:30:30",
        "truncated · 0 · last unknown",
    ] == [*letters]
    undecodable, refused, empty, tombstone, truncated = letters.values()
    assert "- The last record: t\\.x\\, partition 1\\, offset 7\n- Error: \\*broken\\*\n" in undecodable
    assert undecodable.endswith("- Schema: v2, id 12\nstreamapp dlq show --origin t.x-1-7")
    assert ("Error: shown by the command below" in refused, "Schema: id 13" in refused) == (True, True)
    assert "Schema: no schema id could be read" in empty
    assert "Schema: unknown" in tombstone
    assert "The last record: unknown" == truncated


def test_trends_of_the_chosen_span() -> None:
    """Of all partitions together, of each of them, and of the dead letters by reason."""
    pipeline = FakePipeline(PipelineState(partitions=[partition(number) for number in range(10)]))
    pipeline.dead_letters = {"empty": {int(NOON.timestamp() // 60 * 60_000): 3}}
    app = shown(pipeline)
    assert "messages, 10 min; 2 with less are left out" in [caption.value for caption in app.caption]
    assert "per minute, by reason, 10 min" in [caption.value for caption in app.caption]

    app = shown(pipeline, span="24 h")

    assert "per 10 min, by reason, 24 h" in [caption.value for caption in app.caption]
    texts = [str(chart.proto) for chart in app.get("bidi_component")]
    assert "Waiting messages, last 24 h: now 0, at most 0." in texts[0]
    assert "Dead letters: empty 3." in texts[3]


def test_what_no_worker_reported_is_no_empty_chart() -> None:
    """The page says so; the waiting messages are known, their age is not."""
    app = shown(FakePipeline(PipelineState(partitions=[partition()])))

    captions = [caption.value for caption in app.caption]
    assert 1 == captions.count("Unknown: no worker has reported it in this time.")
    long_ago = shown(FakePipeline(PipelineState(partitions=[partition(recent=[])])))
    captions = [caption.value for caption in long_ago.caption]
    assert 4 == captions.count("Unknown: no worker has reported it in this time.")


def test_kiosk_has_tables_of_a_fixed_size() -> None:
    """Nobody can open a reason or scroll."""
    letters = [{"_id": f"reason {number}", "n": 1, "last_at": NOON} for number in range(30)]
    state = PipelineState(workers=[worker(str(number)) for number in range(30)], dead_letters=letters)

    app = shown(FakePipeline(state), kiosk="true")

    assert 0 == len(app.expander)
    assert [["reason 0", 1, "17:30:30"], ["reason 1", 1, "17:30:30"]] == app.dataframe[0].value.to_numpy().tolist()[:2]
    assert [30, 30] == [len(table.value) for table in app.dataframe]


def test_latency_without_events_is_not_unknown() -> None:
    """A worker runs, and there was nothing to measure."""
    app = shown(FakePipeline(PipelineState(partitions=[partition()], workers=[worker()], has_events=True)))

    assert "–" == cards(app)["Latency p95"]


def test_bound_of_the_lag_is_marked_as_one() -> None:
    """A record that the worker has not read yet makes a healthy pipeline neither unknown nor exact."""
    waiting = partition(lag=2, lag_seconds=None, lag_seconds_at_most=0.4)

    app = shown(FakePipeline(PipelineState(partitions=[partition(1), waiting], workers=[worker()], has_events=True)))

    assert ("2", "≤ 400 ms") == (cards(app)["Waiting messages"], cards(app)["Oldest waiting"])


def test_what_nobody_told_is_unknown() -> None:
    """Not 0."""
    app = shown(FakePipeline())

    assert {"unknown"} == set(cards(app).values())
    assert "No event has been stored yet\\." == app.markdown[0].value


def test_an_outage_from_the_start_makes_all_unknown_and_is_named() -> None:
    """Nothing has been read yet."""
    pipeline = FakePipeline(PipelineState(partitions=[partition()]))
    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")

    app = shown(pipeline)

    assert {"unknown"} == set(cards(app).values())
    assert "does not answer" in app.error[0].value


def test_an_outage_keeps_the_last_values_with_their_time() -> None:
    """Numbers, trends and tables."""
    pipeline, times = FakePipeline(PipelineState(partitions=[partition(lag=7)], workers=[worker(rate=5.0)])), [NOON]
    feed = Feed(pipeline=pipeline, reader=FakeReader(), clock=lambda: times[-1])
    app = AppTest.from_function(health_script, args=(feed, KOLKATA), default_timeout=120).run()
    pipeline.error = DisconnectedError("MongoDB at somewhere does not answer.")
    times.append(NOON + timedelta(seconds=42))

    assert Status.UNKNOWN is feed.pipeline_reading().health.status
    app.run()

    assert ("7", "5.0 /s") == (cards(app)["Waiting messages"], cards(app)["Throughput"])
    assert 3 == len(app.get("bidi_component"))
    assert "from **17:30:30 Asia/Kolkata**, 42 s ago" in app.error[0].value
