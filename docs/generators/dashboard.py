"""The parameters of the dashboard's address."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.model import time_window
from dashboard.model.pipeline_trends import SPANS
from dashboard.model.snapshot import FILTERS
from dashboard.model.user_activity import WITHIN
from dashboard.views import controls, latest
from generators.markdown import table
from streamapp.model.user_event import FUNNEL


def parameters() -> str:
    """Render each parameter with its values; the first one is the default."""
    shortest, longest = (str(int(each.total_seconds() // 60)) for each in (time_window.SHORTEST, time_window.LONGEST))
    fields = ", ".join(f"`{name}`" for name in FILTERS)
    rows = [
        ("`view`", _values(controls.VIEWS), "What the page shows; repeat it for the views of `rotate`."),
        ("`range`", _values(offered.key for offered in time_window.RANGES), "Range of event time that ends now."),
        (
            "`from`, `to`",
            "epoch ms",
            f"A fixed period instead of `range`, from {shortest} minute to {int(longest) // 1440} days long.",
        ),
        (fields, "any value", "Show only events with this value; repeat a parameter for several values."),
        ("`compare`", "`true`", "Show the period before in the chart over time."),
        ("`zone`", _values(controls.ZONES), "Time zone of all times; local time is that of the browser."),
        ("`refresh`", _values(controls.INTERVALS), "Time between two refreshes."),
        ("`step`", _values(FUNNEL), "Users: a step of the funnel; repeat the parameter for two to five steps."),
        ("`within`", _values(WITHIN), "Users: time from the first to the last step of the funnel."),
        ("`sends`", "a version", "Schemas: whose senders are shown; the default is the oldest version of the range."),
        ("`before`, `after`", "a version", "Schemas: which versions are compared."),
        ("`span`", _values(span.key for span in SPANS), "Pipeline: time shown."),
        ("`order`", _values(latest.ORDERS), "Latest: which events are shown."),
        ("`user`", "a user id", "Latest: only events of this user."),
        ("`event`", "an `_id`", "Latest: the event whose document is shown."),
        ("`kiosk`", "`true`", "Hide every control."),
        ("`rotate`", _values(controls.ROTATIONS), _ROTATE),
    ]
    return table(["parameter", "values, the default first", "meaning"], rows)


_ROTATE = "In a kiosk, show all views in turn, or those that `view` names, each for so long; refresh every 5 s."


def _values(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)
