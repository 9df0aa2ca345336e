"""How the page names and colours what is particular to user events."""

from __future__ import annotations

import re

from streamapp.rollups.keys import OTHER as _BEYOND_LIMIT

UNREGISTERED = "unregistered"
NOT_GIVEN = "not given"
OTHER = "all others"
NO_BROWSER_FIELD = "n/a (v1)"

# Told apart by colour-blind readers too, and 3:1 or more against both backgrounds. A version keeps its colour.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#2F80C2", "#CC6A00", "#009E73", "#B4649A", "#808080"
_BY_VERSION = (ORANGE, BLUE, GREEN, PURPLE)
_PATTERNS = ("", "x", ".", "-")
VERSION = re.compile(r"^v([1-9]\d*)$")


def value(value: str | None) -> str:
    """Return the label of a field's value."""
    return OTHER if value == _BEYOND_LIMIT else value or NOT_GIVEN


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
    """Return what tells the version from others of its colour: "" for the first four, which differ by colour."""
    number = version_number(schema_version)
    return "" if number is None else _PATTERNS[(number - 1) // len(_BY_VERSION) % len(_PATTERNS)]


def bar_colour(label: str) -> str:
    """Return grey for what is not a value of its own, blue for the rest."""
    return GREY if label in {NO_BROWSER_FIELD, NOT_GIVEN, OTHER} else BLUE
