"""The lag, the throughput and the dead letters of the last minutes or hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.model import pipeline_figures
from dashboard.model.pipeline_figures import REASONS
from dashboard.model.pipeline_trends import MOST_LINES, SPANS, Line, PipelineHistory, Span, Trends, trends
from dashboard.model.time_window import to_ms
from streamapp.model.record import Reason
from tests.support.doubles.dashboard_pipeline import partition, points, seconds
from tests.support.doubles.dashboard_reader import NOON

TEN_MINUTES, HOUR, DAY = SPANS


def trends_of(*partitions: dict[str, Any], span: Span = TEN_MINUTES) -> Trends:
    return trends(PipelineHistory(span=span, partitions=partitions), NOON)


def entry(at: datetime, lag: int, **changes: Any) -> dict[str, Any]:
    """Return an entry of a history."""
    return {"at": at, "lag": lag, "lag_seconds_at_most": None, "rate": None, **changes}


def test_trend_sums_what_all_partitions_tell() -> None:
    """A step of which one partition says nothing is unknown, not less."""
    both = trends_of(partition(recent=points(1, rate=2)), partition(1, recent=points(3, rate=None)[-4:]))

    assert [*[None] * 59, 4, 4] == [lag for _, lag in both.lag]
    assert {None} == {rate for _, rate in both.rate}
    assert (seconds(610), seconds(10)) == (both.lag[0][0], both.lag[-1][0])


def test_trend_of_the_age_is_that_of_the_oldest() -> None:
    """With bounds where no age is known; a step that has just begun is not yet part of it."""
    recent = [{"at": seconds(8), "lag": 1, "lag_seconds": None, "lag_seconds_at_most": 3.0, "rate": None}]
    exact = [{"at": seconds(9), "lag": 1, "lag_seconds": 2.0, "lag_seconds_at_most": None, "rate": None}]

    ages = [trends_of(partition(recent=recent), partition(1, recent=one)).lag_seconds for one in (exact, recent)]

    assert [None, 3.0] == [age for _, age in ages[0][-2:]]
    assert 61 == len(ages[0]) == len(ages[1])


def test_trend_of_an_hour_has_the_steps_that_ended_and_the_newest_heartbeats() -> None:
    """Of a step, the greatest lag and the mean rate; a step of two workers is one."""
    start = NOON.replace(second=0)
    ended = [entry(start - timedelta(minutes=2), 9, rate=3.0), entry(start - timedelta(minutes=2), 4, rate=1.0)]
    ended.append(entry(start - timedelta(minutes=1), 5, lag_seconds_at_most=7.0))
    recent = [entry(seconds(75), 99), entry(seconds(20), 1), entry(seconds(10), 2)]

    shown = trends_of(partition(recent=recent, last_hour=ended), span=HOUR)

    assert [None, 9, 5, 2] == [lag for _, lag in shown.lag[-4:]]
    assert [None, 2.0, None] == [rate for _, rate in shown.rate[-3:]]
    assert 7.0 == shown.lag_seconds[-1][1]
    assert (61, start) == (len(shown.lag), shown.lag[-1][0])


def test_trend_of_a_day_without_a_history_has_what_is_recent() -> None:
    """The worker is of an earlier release."""
    shown = trends_of(partition(recent=points(1, rate=2)), span=DAY)

    assert [None, 1, 1] == [lag for _, lag in shown.lag[-3:]]
    assert 145 == len(shown.lag)


def test_each_partition_has_a_line() -> None:
    """Of many, those with the greatest lag in the span; one of which nothing is known has none of its points."""
    lags = {number: number % 7 for number in range(MOST_LINES + 2)}
    many = [partition(number, recent=points(lag, rate=0)) for number, lag in lags.items()]
    many[0]["recent"] = []

    shown = trends_of(*many)

    assert [f"partition {number}" for number in (1, 2, 3, 4, 5, 6, 8, 9)] == [line.name for line in shown.partitions]
    assert [lags[9]] * 5 == [lag for _, lag in shown.partitions[-1].points[-5:]]
    assert 2 == shown.others


def test_dead_letters_are_counted_by_the_minute_or_more() -> None:
    """By reason; a step without any has 0."""
    minute = NOON.replace(second=0)
    counted = {
        "empty": {to_ms(minute): 2, to_ms(minute - timedelta(minutes=10)): 1},
        "a": {to_ms(minute) - 3_600_000: 7},
    }

    shown = trends(PipelineHistory(span=TEN_MINUTES, dead_letters=counted), NOON).dead_letters

    assert ["a", "empty"] == [line.name for line in shown]
    assert [1, *[0] * 9, 2] == [n for _, n in shown[1].points]
    assert {0} == {n for _, n in shown[0].points}


def test_lines_have_one_axis() -> None:
    """That of the greatest; each has a colour or a dash of its own, and its name in the tooltip."""
    shown = tuple(Line(name=f"partition {n}", points=((NOON, float(n)), (NOON, None))) for n in range(MOST_LINES))

    chart = pipeline_figures.lines(shown, "", UTC).to_dict()

    assert 7.0 < chart["layout"]["yaxis"]["range"][1] < 8.0
    assert MOST_LINES == len({(trace["line"]["color"], trace["line"]["dash"]) for trace in chart["data"]})
    assert "%{fullData.name}" in chart["data"][0]["hovertemplate"]


def test_bars_of_dead_letters_are_stacked_by_reason() -> None:
    """A reason keeps its colour and pattern; one that the page does not know is grey."""
    times = [NOON - timedelta(minutes=1), NOON]
    shown = tuple(Line(name=name, points=tuple((at, 3) for at in times)) for name in (*REASONS, "another"))

    chart = pipeline_figures.dead_letters(shown, timedelta(minutes=1), UTC).to_dict()

    looks = {(bar["marker"]["color"], bar["marker"]["pattern"]["shape"]) for bar in chart["data"]}
    assert len(REASONS) + 1 == len(looks)
    assert 30 < chart["layout"]["yaxis"]["range"][1] < 34
    assert ["2026-03-01T11:59:30", "2026-03-01T12:01:30"] == chart["layout"]["xaxis"]["range"]
    assert ["12:00:30", "3"] == chart["data"][0]["customdata"][1]


def test_every_reason_has_a_colour() -> None:
    """One of its own, whatever its place."""
    assert {*Reason} == {*REASONS}


def test_texts_say_what_the_charts_show() -> None:
    """In a sentence."""
    lines = (Line(name="partition 0", points=((NOON, 5), (NOON, None))), Line(name="partition 1", points=()))
    letters = (Line(name="empty", points=((NOON, 5), (NOON, 1))),)

    assert "Lag: partition 0 5, partition 1 unknown." == pipeline_figures.lines_text("Lag", lines, "")
    assert "Dead letters: empty 6." == pipeline_figures.dead_letters_text(letters)
    assert "Dead letters: none." == pipeline_figures.dead_letters_text(())
