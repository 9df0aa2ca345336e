"""Labels and colours of values and schema versions on the page."""

from __future__ import annotations

import re

from streamapp.model.user_event import CHARTS
from streamapp.rollups.keys import ABSENT
from streamapp.rollups.keys import OTHER as _BEYOND_LIMIT

UNREGISTERED = "unregistered"
NOT_GIVEN = "not given"
OTHER = "all others"
#: Events in rollups that were stored before the dimension existed.
NOT_COUNTED = "not counted"
#: Labels that do not stand for one value of a field.
NO_VALUES = frozenset({OTHER, NOT_COUNTED})
_GREY_BARS = {*NO_VALUES, NOT_GIVEN, *(each.absent_label for each in CHARTS)}

# Distinguishable for colour-blind readers; contrast of 3:1 or more on both backgrounds. A version keeps its colour.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#2F80C2", "#CC6A00", "#009E73", "#B4649A", "#808080"
_BY_VERSION = (ORANGE, BLUE, GREEN, PURPLE)
_PATTERNS = ("", "x", ".", "-")
VERSION = re.compile(r"^v([1-9]\d*)$")


def value(value: str | None) -> str:
    """Return the label of a field's value."""
    return _OF_KEYS.get(value, value) if value else NOT_GIVEN


_OF_KEYS = {_BEYOND_LIMIT: OTHER, ABSENT: NOT_COUNTED}


def version(schema_version: str | None) -> str:
    """Return the label of a version: its name, if it is registered."""
    return schema_version if schema_version and version_number(schema_version) is not None else UNREGISTERED


def version_number(schema_version: str | None) -> int | None:
    """Return the number of a registered version, None for an unregistered one."""
    match = VERSION.fullmatch(schema_version or "")
    return int(match[1]) if match else None


def version_colour(schema_version: str) -> str:
    """Return the colour that the version has in every chart."""
    number = version_number(schema_version)
    return GREY if number is None else _BY_VERSION[(number - 1) % len(_BY_VERSION)]


def version_pattern(schema_version: str) -> str:
    """Return the pattern that distinguishes versions of the same colour; "" for the first four versions."""
    number = version_number(schema_version)
    return "" if number is None else _PATTERNS[(number - 1) // len(_BY_VERSION) % len(_PATTERNS)]


def bar_colour(label: str) -> str:
    """Return grey for labels that do not stand for one value, blue for the others."""
    return GREY if label in _GREY_BARS else BLUE
