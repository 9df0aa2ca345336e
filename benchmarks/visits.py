"""The pages that the benchmark of the refresh visits: every view, and every query that one can ask on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboard.model.time_window import Range, range_named
from streamapp.model.user_event import DIMENSIONS

#: A user with events in every history, and one without any.
USER, NOBODY = "user-000000", "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One address of the page."""

    name: str
    #: A text that the page shows, if it shows what was asked for.
    shows: str
    #: Parameters of the address.
    parameters: Mapping[str, str | Sequence[str]] = field(default_factory=dict[str, "str | Sequence[str]"])
    #: Whether many viewers at the same time are measured, too.
    has_crowd: bool = False

    @property
    def chosen(self) -> Range:
        """The range."""
        return range_named(str(self.parameters.get("range")))

    @property
    def has_total(self) -> bool:
        """Whether the page shows the number of events that pass the filter."""
        return "view" not in self.parameters

    @property
    def query(self) -> dict[str, Any]:
        """The filter as a query for `events`: the histories have plain texts only."""
        return {
            each.path: {"$in": self.parameters[each.plural]} for each in DIMENSIONS if each.plural in self.parameters
        }


def _visit(name: str, shows: str = "Events over time", *, crowd: bool = False, **parameters: str | list[str]) -> Visit:
    return Visit(name=name, shows=shows, parameters=parameters, has_crowd=crowd)


_DAY = "24 h"
VISITS = (
    _visit("Events, 15 min", crowd=True, range="15 min"),
    _visit("Events, 24 h", crowd=True, range=_DAY),
    _visit("Events, 7 d", range="7 d"),
    _visit("Events, 30 d", crowd=True, range="30 d"),
    _visit("Events, 24 h, with the period before", range=_DAY, compare="true"),
    _visit("Events, 15 min, one filter", range="15 min", types=["purchase"]),
    _visit("Events, 24 h, one filter", crowd=True, range=_DAY, types=["purchase"]),
    _visit("Events, 24 h, one filter with three values", range=_DAY, types=["page_view", "click", "purchase"]),
    _visit("Events, 24 h, two filters", range=_DAY, types=["purchase"], devices=["mobile"]),
    _visit(
        "Events, 24 h, three filters",
        crowd=True,
        range=_DAY,
        types=["purchase", "click"],
        devices=["mobile"],
        versions=["v2"],
    ),
    _visit("Events, 24 h, a location", range=_DAY, locations=["DE"]),
    # Of many events only an upper bound is shown, without charts.
    _visit(
        "Events, 24 h, two locations and a type",
        "Total events",
        crowd=True,
        range=_DAY,
        locations=["DE", "FR"],
        types=["click"],
    ),
    _visit("Events, 15 min, a location and a type", "Total events", range="15 min", locations=["DE"], types=["click"]),
    _visit("Users, 15 min", "Funnel", view="Users", range="15 min"),
    _visit("Users, 24 h", "Funnel", crowd=True, view="Users", range=_DAY),
    _visit("Users, 24 h, one filter", "Funnel", view="Users", range=_DAY, devices=["mobile"]),
    _visit(
        "Users, 24 h, five steps",
        "Funnel",
        view="Users",
        range=_DAY,
        step=["page_view", "search", "add_to_cart", "click", "purchase"],
        within="24 h",
    ),
    _visit("Schemas, 24 h", "Who sends a version", crowd=True, view="Schemas", range=_DAY),
    _visit("Schemas, 24 h, who sends v2", "Who sends a version", view="Schemas", range=_DAY, sends="v2"),
    _visit("Schemas, 24 h, one filter", "Who sends a version", view="Schemas", range=_DAY, devices=["mobile"]),
    _visit("Pipeline, 10 min", "Dead letters over time", crowd=True, view="Pipeline"),
    _visit("Pipeline, 1 h", "Dead letters over time", view="Pipeline", span="1 h"),
    _visit("Pipeline, 24 h", "Dead letters over time", view="Pipeline", span=_DAY),
    _visit("Latest, as stored", "Select an event", view="Latest", order="as stored"),
    _visit("Latest, 24 h", "Select an event", view="Latest", range=_DAY),
    _visit("Latest, 24 h, a user", "Timeline", crowd=True, view="Latest", range=_DAY, user=USER),
    _visit("Latest, 24 h, no such user", "matches", view="Latest", range=_DAY, user=NOBODY),
    _visit("Latest, 24 h, a type", "Select an event", view="Latest", range=_DAY, types=["purchase"]),
    _visit("Latest, 24 h, a version", "Select an event", view="Latest", range=_DAY, versions=["v1"]),
    _visit("Latest, 24 h, a location", "Select an event", view="Latest", range=_DAY, locations=["DE"]),
    _visit(
        "Latest, 24 h, a user, a type and a version",
        "events",
        view="Latest",
        range=_DAY,
        user=USER,
        types=["click"],
        versions=["v2"],
    ),
)
#: All of them at the same time, as the subject of a row.
EVERY_VIEW = "all of the above"
