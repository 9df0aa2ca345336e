"""The particulars of user events, as plain data: their fields, what is counted by them, and how the page names them.

The one place to change for an event's fields: decoding, documents, rollups, the recount, doctor, samples and the page
derive theirs from here. A new field takes its `.avsc` in `schemas/`, an entry at the end of FIELDS, and its weights in
`streamapp/samples/generator.py`.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of an event's document."""

    #: Its place in the document, with a dot where it is nested. Fields that came after version 1 are not nested.
    path: str
    #: The Avro type as which the writer's value must be readable; None: streamapp adds the field, no writer has it.
    type: Literal["string", "long"] | None = "string"
    #: The schema version that has it first. After version 1 it may be null, and is null in events of earlier versions.
    since: int = 1

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def is_optional(self) -> bool:
        """Whether it may be null."""
        return self.since > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension(Field):
    """A field by whose values events are counted."""

    type: Literal["string"] | None = "string"
    #: Name of its map in a rollup, of its filter in the page's address, and of its rows in an export.
    plural: str
    #: Title of its filter on the page.
    title: str
    #: Title of its bar chart; None: it has none.
    chart: str | None = None
    #: Charts are shown in ascending order of this number; those with the same number in the order of FIELDS.
    chart_position: int = 100
    #: Whether it is counted together with the other dimensions, in a rollup's cells, so that it can be filtered by.
    #: Parts of a cell's key are in the order of FIELDS: a new dimension comes last, so that stored cells keep their
    #: meaning.
    in_cells: bool = True
    #: Heading of its column in the table of the latest events; None: no column.
    column: str | None = None

    @property
    def absent_label(self) -> str:
        """Label of null for events whose schema does not have the field yet; null of later ones is "not given"."""
        return f"n/a ({', '.join(f'v{version}' for version in range(1, self.since))})"


class Kpi(NamedTuple):
    """A number at the top of the page."""

    title: str
    help: str
    #: Whether a rise is good; else a change has no colour.
    more_is_better: bool = False


SCHEMA_VERSION = Dimension(
    path="schema_version", type=None, plural="versions", title="Schema version", column="version"
)

#: Fields of an event's document that have a meaning to streamapp. Any other field of a writer is stored, too.
FIELDS = (
    Field(path="user_id"),
    Dimension(
        path="event_type", plural="types", title="Event type", chart="Event types", chart_position=1, column="type"
    ),
    Field(path="event_timestamp", type="long"),
    Dimension(
        path="metadata.device", plural="devices", title="Device", chart="Devices", chart_position=3, column="device"
    ),
    Dimension(
        path="metadata.location",
        plural="locations",
        title="Location",
        chart="Locations",
        chart_position=4,
        in_cells=False,
        column="location",
    ),
    Dimension(
        path="browser",
        since=2,
        plural="browsers",
        title="Browser",
        chart="Browsers",
        chart_position=2,
        column="browser",
    ),
    SCHEMA_VERSION,
)

#: Name of the field with the event's time, in milliseconds since the epoch, and of the one with the user's id.
TIME, USER = "event_timestamp", "user_id"
#: The title of the page.
PAGE_TITLE = "User events"
#: The `plural` of the dimension whose most frequent value is a KPI of the page.
MAIN_DIMENSION = "types"
#: Values of that dimension: the steps of the funnel that the page shows first.
FUNNEL = ("page_view", "add_to_cart", "purchase")
#: The schema version whose adoption the page shows: events of this version or a later one.
ADOPTED_VERSION = 2
#: The KPIs of the page: total, users, adoption, and the most frequent value.
KPIS = (
    Kpi("Total events", "Events in the chosen range, by event time; beside it, all events that are stored."),
    Kpi(
        "Unique users",
        "Different user ids among the events in the chosen range. Beyond some 190 it is an estimate by sketches, "
        "marked ~: within 4 %.",
    ),
    Kpi(
        f"V{ADOPTED_VERSION} adoption",
        f"Events written with the version of user_event_v{ADOPTED_VERSION}.avsc or a later one, among those whose "
        "version is registered under the subject.",
        more_is_better=True,
    ),
    Kpi("Top event", "The most frequent event type in the chosen range. The change is that of its share."),
)
#: Colours of the versions, from the first one on, and of everything else: the page has no other meaning for them.
#: Colour-blind readers can distinguish them, and their contrast is 3:1 or more on the light and the dark background.
VERSION_COLOURS = ("#CC6A00", "#2F80C2", "#009E73", "#B4649A")
VALUE_COLOUR = "#2B8793"
#: Colours of lines and bars that only a legend tells apart, such as partitions; none is that of a version, or red.
SERIES_COLOURS = (VALUE_COLOUR, "#7A6FD0", "#867050", "#8A8000")

# What follows is derived from the data above.

#: Versions of the schema that streamapp registers and sends: `schemas/user_event_v<version>.avsc`.
VERSIONS = tuple(range(1, max(field.since for field in FIELDS) + 1))
#: Version → name of the field in `schema_versions` that is true for the writer schema equal to that version.
VERSION_FLAGS = {version: f"is_v{version}" for version in VERSIONS[1:]}

#: Fields that a writer's schema may have; every event has the required ones, the optional ones may be null.
WRITER_FIELDS = tuple(field for field in FIELDS if field.type is not None)
REQUIRED = tuple(field for field in WRITER_FIELDS if not field.is_optional)
OPTIONAL = tuple(field for field in WRITER_FIELDS if field.is_optional)

_DIMENSIONS = tuple(field for field in FIELDS if isinstance(field, Dimension))
#: Dimensions whose keys make a cell, in its order; dimensions that are counted by themselves; all of them.
CELL_DIMENSIONS = tuple(each for each in _DIMENSIONS if each.in_cells)
STANDALONE_DIMENSIONS = tuple(each for each in _DIMENSIONS if not each.in_cells)
DIMENSIONS = (*CELL_DIMENSIONS, *STANDALONE_DIMENSIONS)
#: Dimensions with a bar chart, in the order of the page.
CHARTS = tuple(sorted((each for each in _DIMENSIONS if each.chart), key=lambda each: each.chart_position))
#: Dimensions with a column in the table of the latest events.
LATEST_DIMENSIONS = tuple(each for each in _DIMENSIONS if each.column)

#: An event's values of DIMENSIONS, in that order, each a string or None; its fields have the names of the event's.
DimensionValues = namedtuple("DimensionValues", [each.name for each in DIMENSIONS])  # noqa: PYI024  # pyright: ignore[reportUntypedNamedTuple] - the names are data
