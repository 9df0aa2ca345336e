"""From snapshot to charts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest

from dashboard.model import alt_texts, figures, labels, time_window, volume_chart
from dashboard.model.snapshot import Part, Series
from dashboard.model.volume_chart import Volume
from streamapp.model.user_event import SERIES_COLOURS, VALUE_COLOUR, VERSION_COLOURS
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document, v1
from tests.unit.dashboard.test_compute import snapshot_of

if TYPE_CHECKING:
    from dashboard.model.snapshot import Snapshot

CASES = {
    "empty": [],
    "v1 only": [v1(), v1(NOON - timedelta(minutes=3))],
    "mixed": [
        v1(),
        document(),
        document(schema_version="unregistered", browser=None),
        document(NOON - timedelta(minutes=9)),
    ],
    "one bucket": [document(), document(user_id="user-2")],
}


def snapshot(documents: list[dict[str, Any]]) -> Snapshot:
    return snapshot_of(FakeReader([document(NOON - timedelta(days=30)), *documents]))


def volume(shown: Snapshot, zone: tzinfo = UTC) -> figures.Chart:
    volume_chart.chart.cache_clear()
    return volume_chart.chart(Volume(shown.volume, shown.marks), shown.window, zone)


def described(figure: figures.Chart) -> Any:
    """Return the figure's JSON, after Plotly has validated it."""
    description = json.loads(str(figure.to_json()))
    go.Figure(description)
    return description


@pytest.fixture(params=CASES)
def shown(request: pytest.FixtureRequest) -> Snapshot:
    return snapshot(CASES[request.param])


def test_volume_draws_every_event(shown: Snapshot) -> None:
    """The bars add up to the total."""
    traces = described(volume(shown))["data"]

    assert shown.total == sum(sum(trace["y"]) for trace in traces)


def test_volume_marks_only_the_unfinished_bucket(shown: Snapshot) -> None:
    """The last bar is hatched: it will grow."""
    for trace in described(volume(shown))["data"]:
        assert [*[""] * 15, "/"] == trace["marker"]["pattern"]["shape"]


def test_volume_names_its_zone(shown: Snapshot) -> None:
    """Plotly shows the digits that it gets, and the axis says whose they are."""
    axis = described(volume(shown))["layout"]["xaxis"]

    assert "UTC" in axis["title"]["text"]
    assert ["2026-03-01T11:45:00", "2026-03-01T12:01:00"] == axis["range"]


def test_equal_data_gives_equal_bytes(shown: Snapshot) -> None:
    """The browser leaves a chart alone whose description has not changed."""
    assert volume(shown).to_json() == volume(shown).to_json()
    assert figures.bars(shown.parts["types"]).to_json() == figures.bars(shown.parts["types"]).to_json()


def test_bars_have_their_numbers_in_full_digits() -> None:
    """Beside the bar, whatever the browser's locale."""
    layout = described(figures.bars((Part(label="click", n=20_000, of=30_000),)))["layout"]

    assert ["20,000 · 66.7%"] == [text["text"] for text in layout["annotations"]]
    assert [0, 20_000] == layout["xaxis"]["range"], "the longest bar is as wide as there is space"


def test_v1_is_grey_among_the_browsers() -> None:
    """What is not a browser does not look like one."""
    (trace,) = described(figures.bars((Part(label="edge", n=2, of=3), Part(label="n/a (v1)", n=1, of=3))))["data"]

    assert [VALUE_COLOUR, labels.GREY] == trace["marker"]["color"]


def test_label_is_never_read_as_html() -> None:
    """Any client may send labels."""
    (trace,) = described(figures.bars((Part(label="<a href='//x'>y</a>", n=1, of=1),)))["data"]

    assert "<" not in figures.bars((Part(label="<b>", n=1, of=1),)).to_dict()["layout"]["yaxis"]["ticktext"][0]
    assert "<" not in trace["customdata"][0][0]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
        ("W" * 200, "W" * 12 + "…"),
        ("漢" * 200, "漢" * 9 + "…"),
    ],
)
def test_wide_labels_leave_space_for_the_bars(label: str, shown: str) -> None:
    """Wide characters count for more; the tooltip has all of the label."""
    chart = described(figures.bars((Part(label=label, n=1, of=1),)))

    assert [shown] == chart["layout"]["yaxis"]["ticktext"]
    assert label == chart["data"][0]["customdata"][0][0]


def test_long_labels_that_are_cut_alike_are_two_bars() -> None:
    """Each with its own number."""
    parts = tuple(Part(label="x" * 40 + end, n=1, of=2) for end in "ab")
    text = described(figures.bars(parts))

    assert [0, 1] == text["data"][0]["y"] == text["layout"]["yaxis"]["tickvals"]
    assert 1 == len(set(text["layout"]["yaxis"]["ticktext"]))


def test_versions_keep_their_colour() -> None:
    """Whatever else is in the range."""
    (alone,) = described(volume(snapshot([document()])))["data"]
    _, among = described(volume(snapshot([v1(), document()])))["data"]

    assert alone["marker"]["color"] == among["marker"]["color"]


def test_versions_differ_in_colour_or_pattern() -> None:
    """Also those beyond the fourth, and an unregistered one."""
    versions = [f"v{number}" for number in range(1, 17)] + ["unregistered"]

    assert 17 == len({(labels.version_colour(name), labels.version_pattern(name)) for name in versions})


def test_tenth_version_comes_after_the_ninth() -> None:
    """By number, and what has none comes last."""
    names = ["unregistered", "v10", "v9", "v2"]
    shown = snapshot([document(schema_version=name) for name in names])

    assert ["v2", "v9", "v10", "unregistered"] == [trace["name"] for trace in described(volume(shown))["data"]]


def test_alternative_texts_tell_the_numbers(shown: Snapshot) -> None:
    """Who cannot see the chart reads what it says."""
    assert f"{shown.total} in the last 15 minutes" in alt_texts.volume(shown, UTC) or not shown.total
    assert all(part.label in alt_texts.bars("Browsers", shown.parts["browsers"]) for part in shown.parts["browsers"])


def test_alternative_text_of_volume_names_the_peak() -> None:
    """The takeaway, not only the totals."""
    text = alt_texts.volume(snapshot(CASES["mixed"]), UTC)

    assert "most in the minute from 2026-03-01 12:00 UTC, 3." in text


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("background", ["#ffffff", "#0f141b"])
@pytest.mark.parametrize("colour", [*VERSION_COLOURS, *SERIES_COLOURS, labels.GREY])
def test_colours_stand_out_on_both_backgrounds(colour: str, background: str) -> None:
    """3:1 is what WCAG asks of graphics."""
    darker, lighter = sorted((_luminance(colour), _luminance(background)))

    assert (lighter + 0.05) / (darker + 0.05) >= 3


def test_chart_is_made_once_for_equal_data() -> None:
    """Forty visitors cost as much as one."""
    shown, same = snapshot(CASES["mixed"]), snapshot(CASES["mixed"])

    assert figures.bars(shown.parts["types"]) is figures.bars(same.parts["types"])
    assert volume(shown) is volume_chart.chart(Volume(same.volume, same.marks), same.window, UTC)


def test_period_before_is_a_faint_line() -> None:
    """Each of its points says when it was; what is still filling has no point."""
    shown = snapshot([document(NOON - timedelta(minutes=20)), document()])
    bars, line = described(volume_chart.chart(Volume(shown.volume, (), shown.before), shown.window, UTC))["data"]

    assert ("scatter", labels.GREY, "dot") == (line["type"], line["line"]["color"], line["line"]["dash"])
    assert len(bars["x"]) == len(line["y"])
    assert (1, None) == (sum(n or 0 for n in line["y"]), line["y"][-1])
    assert ["01 Mar 11:40 UTC", "1"] in line["customdata"]


def test_volume_is_drawn_in_the_chosen_zone() -> None:
    """And the axis names it."""
    axis = described(volume(snapshot([document()]), ZoneInfo("Europe/Berlin")))["layout"]["xaxis"]

    assert "Event time (Europe/Berlin)" == axis["title"]["text"]
    assert "2026-03-01T12:45:00" == axis["range"][0]


def test_first_event_of_a_version_is_marked() -> None:
    """By a dotted line with its name."""
    reader = FakeReader([v1(), document()])
    reader.version_times = (("v1", NOON, NOON), ("v2", NOON - timedelta(minutes=3), NOON))

    layout = described(volume(snapshot_of(reader)))["layout"]

    assert ["2026-03-01T11:57:30"] == [shape["x0"] for shape in layout["shapes"]]
    assert [("v2 first seen", "right")] == [(text["text"], text["xanchor"]) for text in layout["annotations"]]


def with_burst(n: int) -> Snapshot:
    """Return ten minutes of two events, of which one has n more."""
    minutes = [NOON - timedelta(minutes=minute) for minute in range(1, 11)]
    return snapshot([document(at) for at in minutes * 2] + [v1(minutes[3]) for _ in range(n)])


@pytest.mark.parametrize(("n", "is_cut"), [(6, False), (7, True), (200, True)])
def test_a_burst_does_not_flatten_the_other_bars(n: int, is_cut: bool) -> None:
    """Beyond four times the usual number its bar is cut, and its number stands above it."""
    chart = described(volume(with_burst(n)))

    assert ("range" in chart["layout"]["yaxis"]) == is_cut
    assert ([f"▲ {n + 2}"] if is_cut else []) == [text["text"] for text in chart["layout"]["annotations"]]
    if is_cut:
        assert chart["layout"]["annotations"][0]["x"] == "2026-03-01T11:56:30"
        assert 2 < chart["layout"]["yaxis"]["range"][1] < 4


def test_of_bursts_beside_each_other_the_greatest_has_its_number() -> None:
    """Two numbers would be written over each other; at an edge the number is written towards the middle."""
    window = time_window.window(time_window.range_named("1 h"), NOON)
    counts = [1] * len(window.buckets)
    counts[0], counts[30], counts[31], counts[32], counts[45], counts[-1] = 40, 50, 70, 60, 30, 90
    many = volume_chart.chart(Volume((Series(version="v1", per_bucket=tuple(counts)),)), window, UTC)

    texts = described(many)["layout"]["annotations"]

    assert ["▲ 40", "▲ 70", "▲ 30", "▲ 90"] == [text["text"] for text in texts]
    assert ["left", None, None, "right"] == [text.get("xanchor") for text in texts]


def test_few_buckets_are_all_drawn_in_full() -> None:
    """No number is usual among them."""
    shown = snapshot([document(), *[document(NOON - timedelta(minutes=3)) for _ in range(50)]])

    assert "range" not in described(volume(shown))["layout"]["yaxis"]


def test_adoption_has_gaps_where_nothing_is_known(shown: Snapshot) -> None:
    """No event is not 0 %."""
    (trace,) = described(figures.adoption(shown.adopted, shown.window, UTC))["data"]

    assert list(shown.adopted) == trace["y"]


def test_alternative_text_of_the_adoption() -> None:
    """From where to where it went."""
    text = alt_texts.adoption(snapshot([v1(NOON - timedelta(minutes=3)), document()]))

    assert "V2 adoption over time: from 0.0% to 100.0%." == text
    assert "no events" in alt_texts.adoption(snapshot([]))


def test_chart_of_parts_has_one_of_two_heights() -> None:
    """So that the page does not jump with every new value."""
    heights = {
        n: described(figures.bars(tuple(Part(label=str(i), n=1, of=n) for i in range(n))))["layout"]["height"]
        for n in range(1, 9)
    }

    assert heights[1] == heights[6] < heights[7] == heights[8]


@pytest.mark.parametrize(
    ("at", "key", "zone", "drawn_in"),
    [
        ("2026-03-08T12:00:30+00:00", "1 h", "America/New_York", "America/New_York"),
        ("2026-03-08T12:00:30+00:00", "24 h", "America/New_York", "UTC"),
        ("2026-11-01T12:00:30+00:00", "24 h", "America/New_York", "UTC"),
        ("2026-11-01T12:00:30+00:00", "24 h", "Asia/Kolkata", "Asia/Kolkata"),
        ("2026-03-08T12:00:30+00:00", "30 d", "Asia/Kolkata", "UTC"),
    ],
)
def test_window_is_drawn_where_no_digits_mislead(at: str, key: str, zone: str, drawn_in: str) -> None:
    """An hour that comes twice would be drawn over itself, and a day of UTC is none of another zone."""
    shown = time_window.window(time_window.range_named(key), datetime.fromisoformat(at))

    assert drawn_in == str(figures.axis_zone(shown, ZoneInfo(zone)))


def test_hours_are_drawn_apart_when_the_clocks_go_back() -> None:
    """Every bucket has digits of its own."""
    at = datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC)
    shown = time_window.window(time_window.range_named("24 h"), at)
    zone = figures.axis_zone(shown, ZoneInfo("America/New_York"))
    chart = volume_chart.chart(Volume((Series(version="v1", per_bucket=(1,) * len(shown.buckets)),)), shown, zone)

    (trace,) = described(chart)["data"]

    assert len(shown.buckets) == len(set(trace["x"]))


def test_trend_has_gaps_and_begins_at_0() -> None:
    """So that a small change does not look like a large one, and unknown not like 0."""
    points = ((NOON, 0.5), (NOON + timedelta(seconds=10), None))

    text = described(figures.trend(points, "s", ZoneInfo("Asia/Kolkata")))

    (line,) = text["data"]
    assert [0.5, None] == line["y"]
    assert ["17:30:30", "0.5 s"] == line["customdata"][0]
    assert [0, 1.1] == text["layout"]["yaxis"]["range"]


def test_alternative_text_of_a_trend() -> None:
    """What it is now, and the worst of it."""
    points = ((NOON, 20_000.0), (NOON, 3.0), (NOON, None))

    assert "Lag, last 1 h: now 3, at most 20,000." == alt_texts.trend("Lag", points, "", "1 h")
    assert "unknown" in alt_texts.trend("Lag", (), "", "1 h")
