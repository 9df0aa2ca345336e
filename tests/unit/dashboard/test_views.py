"""Every state of the page, run by Streamlit without a browser."""

from __future__ import annotations

import gc
import re
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.data.feed import Feed
from dashboard.model import time_window
from dashboard.model.errors import DisconnectedError, RefusedError, TooSlowError
from dashboard.model.health import PipelineState
from dashboard.views import address, page
from dashboard.views.controls import VIEWS
from streamapp.model.user_event import CHARTS
from tests.support.doubles.dashboard_pipeline import FakePipeline, partition, seconds, worker
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document, v1

if TYPE_CHECKING:
    from collections.abc import Callable

_CHARTS = [each.chart for each in CHARTS]
TITLES = ["Events over time", *_CHARTS[:3], "V2 adoption over time", *_CHARTS[3:]]


def script(feed: "Any") -> None:  # noqa: UP037 - its text is run where no name of this file is known
    from dashboard.views import page  # noqa: PLC0415 - Streamlit runs this function's text as a script of its own

    page.show(feed)


def opened(reader: FakeReader, clock: Callable[[], datetime] = lambda: NOON) -> AppTest:
    app = AppTest.from_function(
        script, args=(Feed(pipeline=FakePipeline(), reader=reader, clock=clock),), default_timeout=120
    ).run()
    assert not app.exception
    return app


def addressed(reader: FakeReader, **parameters: str | list[str]) -> AppTest:
    feed = Feed(pipeline=FakePipeline(), reader=reader, clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def can_select(app: AppTest) -> bool:
    """Return whether a drag over a chart selects a period."""
    return any(re.search(r"dragmode\W+select", str(chart.proto)) for chart in app.get("bidi_component"))


def kpis(app: AppTest) -> dict[str, tuple[str, str]]:
    return {metric.label: (metric.value, metric.proto.delta_description) for metric in app.metric}


def notice(app: AppTest) -> str:
    return " ".join(element.value for element in (*app.info, *app.warning, *app.error))


def test_kpis_and_charts_of_the_range() -> None:
    """Four numbers, all charts, nothing to be warned of."""
    long_ago = document(NOON - timedelta(days=40))
    reader = FakeReader([long_ago, document(), document(user_id="user-2", event_type="search"), document(), v1()])

    app = opened(reader)

    assert {
        "Total events": ("4", "5 all time"),
        "Unique users": ("2", "in the last 15 minutes"),
        "V2 adoption": ("75.0%", "3 of 4"),
        "Top event": ("click", "75.0% of events"),
    } == kpis(app)
    assert TITLES == [heading.value for heading in app.header]
    assert len(TITLES) == len(app.get("bidi_component"))
    assert "" == notice(app)


def test_totals_are_full_digits() -> None:
    """The same in every browser's locale, because they are texts."""
    app = opened(FakeReader([document() for _ in range(1_234)]))

    assert "1,234" == kpis(app)["Total events"][0]


def test_nothing_stored_says_how_to_make_events() -> None:
    """The first minute of a new user."""
    app = opened(FakeReader())

    assert "No events yet" in notice(app)
    assert ["streamapp send-sample --count 100"] == [code.value for code in app.code]
    assert {"Total events": "0", "Unique users": "0", "V2 adoption": "–", "Top event": "–"} == {
        label: value for label, (value, _) in kpis(app).items()
    }


def test_nothing_in_range_says_where_the_newest_event_is() -> None:
    """Events there are, but older than the range."""
    app = opened(FakeReader([document(NOON - timedelta(hours=3))]))

    assert "No events in the last 15 minutes" in notice(app)
    assert "09:00:30 UTC, 3 h ago" in notice(app)
    assert ("0", "1 all time") == kpis(app)["Total events"]
    assert "–" == kpis(app)["V2 adoption"][0]


def test_range_is_chosen_by_button() -> None:
    """Three hours ago is within 6 hours."""
    app = opened(FakeReader([document(NOON - timedelta(hours=3))]))

    app.button_group(key="range").set_value("6 h").run()

    assert ("1", "1 all time") == kpis(app)["Total events"]


def test_range_is_chosen_by_address() -> None:
    """A link keeps what was looked at."""
    app = addressed(FakeReader([document(NOON - timedelta(hours=3))]), range="6 h")

    assert "1" == kpis(app)["Total events"][0]


def test_refresh_can_be_turned_off() -> None:
    """The control is named for what it does."""
    app = opened(FakeReader([document()]))

    app.selectbox(key="refresh").set_value("off").run()

    assert not app.exception
    assert "refresh" in app.selectbox(key="refresh").label.lower()


def test_outage_from_the_start_shows_unknown_never_zero() -> None:
    """What was not read is not 0."""
    reader = FakeReader()
    reader.error = DisconnectedError("MongoDB at db:27017 does not answer.")

    app = opened(reader)

    assert {"unknown"} == {value for value, _ in kpis(app).values()}
    assert "all time unknown" == kpis(app)["Total events"][1]
    assert "Disconnected" in notice(app)
    assert "streamapp up" in notice(app)


def test_outage_keeps_the_last_numbers_with_their_time() -> None:
    """Marked as what they are: old."""
    reader, times = FakeReader([document()]), [NOON]
    app = opened(reader, lambda: times[-1])
    reader.error = DisconnectedError("MongoDB at db:27017 does not answer.")
    times.append(NOON + timedelta(seconds=42))

    app.run()

    assert "from **12:00:30 UTC**, 42 s ago" in notice(app)
    assert "1" == kpis(app)["Total events"][0]
    assert len(TITLES) == len(app.get("bidi_component"))


def test_query_limit_is_told() -> None:
    """The range is unknown, the total is not."""
    reader = FakeReader([document()])
    reader.error_of_counts = TooSlowError("The query to MongoDB at db:27017 took longer than 2 s and was stopped.")

    app = opened(reader)

    assert "longer than 2 s" in app.warning[0].value
    assert ("unknown", "1 all time") == kpis(app)["Total events"]


def test_refusal_is_told() -> None:
    """A wrong password is not an outage that ends by itself."""
    reader = FakeReader()
    reader.error = RefusedError("MongoDB at db:27017 refuses read access: AuthenticationFailed.")

    assert "AuthenticationFailed" in notice(opened(reader))


@pytest.mark.parametrize(
    ("name", "shown"), [("add_to_cart", "add_to_cart"), ("**bold** :cat:", r"\*\*bold\*\* \:cat\:")]
)
def test_main_action_is_never_read_as_markdown(name: str, shown: str) -> None:
    """Any client may send event types."""
    assert shown == kpis(opened(FakeReader([document(event_type=name)])))["Top event"][0]


def test_wrong_setting_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names the setting, without a traceback."""
    monkeypatch.setenv("STREAMAPP_MONGO_DATABASE", "a.b")

    app = AppTest.from_file(str(Path(dashboard.__file__).with_name("app.py")), default_timeout=120).run()

    assert not app.exception
    assert "STREAMAPP_MONGO_DATABASE" in notice(app)


def test_event_from_the_future_is_told() -> None:
    """A clock is wrong, here or where the event was made."""
    app = opened(FakeReader([document(NOON + timedelta(hours=2))]))

    assert "14:00:30 UTC, ahead of this clock" in notice(app)


OLD = NOON - timedelta(minutes=2)
BEFORE, FINISHED = NOON - timedelta(minutes=20), NOON - timedelta(minutes=5)


def test_change_stands_beside_each_number() -> None:
    """Against the period before; a flat one is a 0, which is neither up nor down."""
    app = opened(FakeReader([v1(BEFORE), document(BEFORE), document(FINISHED), document(FINISHED), v1(FINISHED)]))

    assert {"Total events": "+50.0%", "Unique users": "0", "V2 adoption": "+16.7 pp", "Top event": "0"} == {
        metric.label: metric.delta for metric in app.metric
    }
    assert "5 all time" == kpis(app)["Total events"][1]


def test_filter_is_chosen_by_address_and_by_control() -> None:
    """Options come from the data."""
    reader = FakeReader([document(), document(browser="edge"), v1()])
    app = addressed(reader, browsers=["edge"])
    assert "1" == kpis(app)["Total events"][0]
    assert ["edge", "firefox", "n/a (v1)"] == app.multiselect(key="browsers").options

    app.multiselect(key="browsers").set_value(["edge", "firefox"]).run()

    assert "2" == kpis(app)["Total events"][0]


def test_labels_of_a_dimension_are_alternatives_and_dimensions_are_conditions() -> None:
    """Locations too; the address has each of them, and each has a button that removes it."""
    events = [
        document(metadata={"device": device, "location": location}, browser=browser)
        for device in ("mobile", "tablet", "desktop")
        for location in ("DE", "FR", "a *b*")
        for browser in ("edge", "safari")
    ]
    app = addressed(FakeReader(events), devices=["mobile", "tablet"], locations=["DE", "a *b*"], browsers=["edge"])
    assert "4" == kpis(app)["Total events"][0]
    chips = [button for button in app.button if str(button.key).startswith("chip ")]
    assert ["Device: mobile", "Device: tablet", "Browser: edge", "Location: DE", r"Location: a \*b\*"] == [
        chip.label for chip in chips
    ]

    chips[1].click().run()

    assert "2" == kpis(app)["Total events"][0]
    assert {"devices": "mobile", "locations": ["DE", "a *b*"], "browsers": "edge"} == {
        name: app.query_params[name] for name in ("devices", "locations", "browsers")
    }
    assert ["mobile"] == app.multiselect(key="devices").value


def test_click_on_a_bar_selects_and_deselects(monkeypatch: pytest.MonkeyPatch) -> None:
    """One change of the address each."""
    parameters = QueryParameters()
    monkeypatch.setattr(address.st, "query_params", parameters)

    address.toggle("types", "click")
    address.toggle("types", "a, b")
    assert {"types": ["click", "a, b"]} == parameters
    address.toggle("types", "click")

    assert {"types": ["a, b"]} == parameters


class QueryParameters(dict[str, Any]):
    """The parameters of the address."""

    def get_all(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return self.get(name, [])


def test_period_before_is_drawn_on_request() -> None:
    """The address says so, and the text for screen readers has its number."""
    reader = FakeReader([document(BEFORE), document(FINISHED), document(FINISHED)])

    with_line, without = (texts(addressed(reader, **parameters)) for parameters in ({"compare": "true"}, {}))

    assert "The period before: 1." in with_line
    assert "The period before" not in without
    app = opened(reader)
    app.toggle(key="compare").set_value(True).run()
    assert "true" in app.query_params["compare"]
    assert "The period before: 1." in texts(app)


def texts(app: AppTest) -> str:
    """Return the data of all charts."""
    return " ".join(str(chart.proto) for chart in app.get("bidi_component"))


@pytest.mark.parametrize(
    ("views", "shown"),
    [
        ([], ["Events", "Users", "Schemas", "Pipeline", "Latest", "Events"]),
        (["Events", "Pipeline", "?"], ["Events", "Pipeline"] * 3),
        (["Users"], ["Users"] * 6),
    ],
)
@pytest.mark.parametrize("refresh", ["5 s", "30 s", "off"])
def test_kiosk_shows_views_in_turn(views: list[str], shown: list[str], refresh: str) -> None:
    """Without a click, each for as long as the address says: all of them, or those that it names."""
    first = datetime.fromtimestamp(30 * 10 * 7, UTC)
    feed = Feed(pipeline=FakePipeline(), reader=FakeReader([document()]), clock=lambda: first)
    app = AppTest.from_function(kiosk_script, args=(feed, first), default_timeout=120)
    app.query_params.update({"kiosk": "true", "rotate": "30 s", "refresh": refresh, "view": views})

    app.run()

    assert not app.exception
    assert shown == [each.value for each in app.markdown][-6:]
    assert "5" == app.text[0].value, "a refresh also shows the next view"


def kiosk_script(feed: "Any", first: "Any") -> None:  # noqa: UP037 - its text is run where no name is known
    from datetime import timedelta  # noqa: PLC0415 - likewise

    import streamlit as st  # noqa: PLC0415

    from dashboard.views import controls  # noqa: PLC0415

    choice = controls.show(feed)
    st.text(str(choice.interval))
    for number in range(6):
        st.markdown(choice.view_at(first + timedelta(seconds=30 * number)))


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_has_controls_in_a_kiosk(view: str) -> None:
    """Nobody can reach them; what they choose is in the address."""
    reader = FakeReader([v1(), document()])
    feed = Feed(pipeline=FakePipeline(events=[v1(), document()]), reader=reader, clock=lambda: NOON)
    app = AppTest.from_function(script, args=(feed,), default_timeout=120)
    app.query_params.update({"kiosk": "true", "view": view})

    app.run()

    assert not app.exception
    controls = (app.button, app.button_group, app.multiselect, app.selectbox, app.text_input, app.expander)
    assert [0] * 6 == [*map(len, controls)]


def test_filter_of_a_kiosk_is_told() -> None:
    """No control shows it there."""
    app = addressed(FakeReader([document()]), kiosk="true", browsers=["firefox", "a*b"])

    assert any(r"only Browser a\*b or firefox" in caption.value for caption in app.caption)


def test_small_base_is_new_and_no_rise_is_praised() -> None:
    """More events are not better, and eleven times of one event are no number to show."""
    app = opened(FakeReader([v1(BEFORE), *[document(FINISHED)] * 11]))

    by_label = {metric.label: metric.proto for metric in app.metric}
    assert "new" == by_label["Total events"].delta
    colours = {label: proto.color for label, proto in by_label.items()}
    assert 1 == len({colours[label] for label in ("Total events", "Unique users", "Top event")})
    assert colours["V2 adoption"] != colours["Total events"]


def test_filter_that_nothing_passes_can_be_cleared() -> None:
    """It is not an empty database."""
    app = addressed(FakeReader([document()]), browsers=["edge"])
    assert "No events match these filters" in notice(app)

    app.button(key="clear_here").click().run()

    assert "1" == kpis(app)["Total events"][0]
    assert "" == notice(app)


def test_rollups_that_are_behind_are_told_with_the_command() -> None:
    """The events are counted all the same."""
    reader = FakeReader([document(NOON - timedelta(minutes=1))])
    reader.not_rolled_up = 1

    app = opened(reader)

    assert "streamapp rollups rebuild" in notice(app)
    assert "1" == kpis(app)["Total events"][0]


def test_direct_count_that_is_cut_is_told() -> None:
    """Not all events of the range are in the numbers."""
    reader = FakeReader([document(NOON - timedelta(minutes=1))])
    reader.not_rolled_up, reader.most_direct = 1, 1

    assert "newest 10,000 events" in notice(opened(reader))


def test_users_that_would_cost_too_much_are_not_available() -> None:
    """Said so."""
    reader = FakeReader([document(), document()])
    reader.most_for_users = 1

    assert ("n/a", "not available while filtering") == kpis(addressed(reader, types=["click"]))["Unique users"]


def test_custom_period_is_in_the_address_and_can_be_left() -> None:
    """Nothing refreshes it, and one button leads back."""
    start = time_window.to_ms(NOON - timedelta(hours=3, seconds=30))
    reader = FakeReader([document(NOON - timedelta(hours=3))])
    app = addressed(reader, **{"from": str(start), "to": str(start + 600_000)})
    assert "1" == kpis(app)["Total events"][0]
    assert "from 2026-03-01 09:00 to 09:10" in app.caption[1].value
    assert app.button_group(key="range_after_period").value is None
    assert ("off", True) == (app.selectbox(key="no_refresh").value, app.selectbox(key="no_refresh").disabled)

    next(button for button in app.button if button.label == "Back to the last 15 minutes").click().run()

    assert "0" == kpis(app)["Total events"][0]
    assert ("15 min", "5 s") == (app.button_group(key="range").value, app.selectbox(key="refresh").value)


def test_range_can_be_chosen_during_a_period() -> None:
    """It ends the period, and both are one change of the address."""
    start = time_window.to_ms(NOON - timedelta(hours=3))
    reader = FakeReader([document(NOON - timedelta(minutes=30))])
    app = addressed(reader, **{"from": str(start), "to": str(start + 600_000), "range": "6 h"})

    app.button_group(key="range_after_period").set_value("1 h").run()

    assert "1" == kpis(app)["Total events"][0]
    assert {"range": "1 h"} == dict(app.query_params)
    assert "1 h" == app.button_group(key="range").value


def test_address_that_means_nothing_shows_the_defaults() -> None:
    """The page appears, without a traceback."""
    nonsense = {"view": "x", "range": "%00", "zone": "Mars", "refresh": "1 ms", "kiosk": "?", "from": "a", "to": "-5"}

    app = addressed(FakeReader([document()]), **nonsense)

    assert ("1", "1 all time") == kpis(app)["Total events"]
    assert "15 min" == app.button_group(key="range").value
    assert ["local time", "5 s"] == [box.value for box in app.selectbox]


def test_a_period_is_one_change_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the browser goes back from it in one step."""
    changes: list[dict[str, Any]] = []

    class Address(dict[str, Any]):
        """The parameters of the address, each change of which is an entry in the history of the browser."""

        def __setitem__(self, name: str, value: Any) -> None:
            pytest.fail(f"{name} is set alone")

        def update(self, values: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Set several at once."""
            changes.append(values)
            super().update(values)

    monkeypatch.setattr(address.st, "query_params", Address())
    address.choose_period(["2026-03-01 11:50", "2026-03-01 11:55"], UTC)
    address.back_to_live()

    assert [{"from", "to"}] * 2 == [{*each} for each in changes]
    assert {"from": [], "to": []} == changes[-1]


def test_kiosk_has_numbers_and_no_controls() -> None:
    """The address says what it shows."""
    app = addressed(
        FakeReader([document(NOON - timedelta(hours=3)), document(browser="edge")]),
        kiosk="true",
        range="6 h",
        browsers=["firefox"],
    )

    assert "1" == kpis(app)["Total events"][0]
    assert [0, 0, 0] == [len(app.button), len(app.multiselect), len(app.selectbox)]
    # Nobody could leave a period that a drag has chosen.
    assert not can_select(app)
    assert can_select(opened(FakeReader([document()])))


@pytest.mark.parametrize(("view", "label"), [("Pipeline", "Waiting messages"), ("Latest", None)])
def test_other_views_are_chosen_by_address(view: str, label: str | None) -> None:
    """And show the last event."""
    app = addressed(FakeReader([document()]), view=view)

    assert label is None or label in kpis(app)
    assert any("no event yet" in caption.value for caption in app.caption)


@pytest.mark.parametrize(
    ("state", "badge"),
    [
        (PipelineState(), "waiting"),
        (PipelineState(has_events=True, last_received_at=NOON, workers=[worker()]), "live"),
        (PipelineState(has_events=True, last_received_at=OLD, partitions=[partition()], workers=[worker()]), "idle"),
        (
            PipelineState(
                has_events=True,
                last_received_at=OLD,
                partitions=[partition(lag=5, end=105, at=seconds(20))],
                workers=[worker(at=OLD)],
            ),
            "stalled",
        ),
    ],
)
def test_state_of_the_pipeline_stands_above_the_charts(state: PipelineState, badge: str) -> None:
    """As its own view tells it."""
    feed = Feed(pipeline=FakePipeline(state), reader=FakeReader([document()]), clock=lambda: NOON)

    app = AppTest.from_function(script, args=(feed,), default_timeout=120).run()

    assert any(f"Pipeline {badge}" in element.value for element in app.markdown)
    assert ("no event yet" in app.caption[0].value) == (badge == "waiting")


def test_box_over_the_chart_becomes_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the address, so that it can be shared; what is no period changes nothing."""
    parameters: dict[str, str] = {}
    monkeypatch.setattr(address.st, "query_params", parameters)

    assert not address.choose_period(["2026-03-01 11:50", "?"], UTC)
    assert not address.choose_period(["2026-03-01 11:50", "2028-03-01 11:50"], UTC)
    assert {} == parameters
    assert address.choose_period(["2026-03-01 11:50", "2026-03-01 11:55"], UTC)

    assert 300_000 == int(parameters["to"]) - int(parameters["from"])


def test_the_first_visit_alone_exempts_what_exists_from_garbage_collection(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Else a collection of all objects of the libraries would delay refreshes again and again."""
    monkeypatch.setattr(page, "_feed", lambda: None)
    monkeypatch.setattr(page, "show", lambda _: None)
    page._exempt_from_gc.cache_clear()
    request.addfinalizer(gc.unfreeze)

    page.main()
    assert gc.get_freeze_count() > 10_000

    garbage: list[object] = [reader := FakeReader([])]
    garbage.append(garbage)
    seen = weakref.ref(reader)
    page.main()
    del garbage, reader
    gc.collect()
    assert seen() is None
