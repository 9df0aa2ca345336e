"""Labels and colours of values and schema versions on the page.

A label stands for one value of a dimension, or for the events that the text of the label describes, such as "not
given". A value with such a text has a label in quotes, so no two of them have the same label. The address, filters,
charts and exports use these labels.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from streamapp.model.user_event import CHARTS, VALUE_COLOUR, VERSION_COLOURS
from streamapp.rollups.keys import ABSENT, NULL, value_of
from streamapp.rollups.keys import OTHER as _OTHER_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streamapp.model.user_event import Dimension

UNREGISTERED = "unregistered"
NOT_GIVEN = "not given"
OTHER = "all others"
#: Events that are not counted by the dimension: their rollups are older, or do not tell under the filter.
NOT_COUNTED = "not counted"
#: Labels that do not stand for one value of a field.
NO_VALUES = frozenset({OTHER, NOT_COUNTED})
#: Labels of null, by the field: its schema has no such field, or the event leaves it empty.
OF_NULL = frozenset({NOT_GIVEN, *(each.absent_label for each in CHARTS)})
#: Labels that a filter offers: nobody reads a list of thousands.
MOST_OFFERED = 200
_RESERVED = NO_VALUES | OF_NULL

#: The color of "all others", of labels for missing values, and of the period before.
GREY = "#808080"
_PATTERNS = ("", "x", ".", "-")
VERSION = re.compile(r"^v([1-9][0-9]{0,8})$(?!\n)")


def value(text: str | None) -> str:
    """Return the label of a value, given its text, None for null.

    A text is in quotes, as in JSON, if it is empty, begins with a quote, has space at an end, or is a label of its own.
    """
    if text is None:
        return NOT_GIVEN
    is_plain = text and text == text.strip() and text[0] != '"' and text not in _RESERVED
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def of_key(key: str) -> str:
    """Return the label of a key of a rollup's map."""
    return _OF_KEYS[key] if key in _OF_KEYS else value(value_of(key))


_OF_KEYS: Mapping[str, str] = {NULL: NOT_GIVEN, _OTHER_KEY: OTHER, ABSENT: NOT_COUNTED}


def text_of(label: str) -> str | None:
    """Return the text of the value that has this label; None for a label that stands for no text."""
    if label in _RESERVED:
        return None
    if label[:1] == '"':
        try:
            text = str(json.loads(label))
            text.encode()  # not all that JSON can write is a text in MongoDB
        except ValueError:
            return None
        return text
    return label


def offered(counts: Mapping[str, int], selected: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the labels that a filter offers: the most frequent ones, and those that are selected."""
    frequent = sorted((label for label in counts if label not in NO_VALUES), key=lambda label: (-counts[label], label))
    return tuple(sorted({*frequent[:MOST_OFFERED], *selected}))


def is_absent(dimension: Dimension, version_label: str, numbers: Mapping[int, int]) -> bool:
    """Return whether the schema of a version has no such field: its null is not the same as one that is left empty.

    Args:
        dimension: the field.
        version_label: the label of the version.
        numbers: the number that each version of the event has under the subject.
    """
    number = version_number(version_label)
    return dimension.is_optional and number is not None and number < numbers[dimension.since]


def version(schema_version: str | None) -> str:
    """Return the label of a version: its name, if it is registered."""
    return schema_version if schema_version and version_number(schema_version) is not None else UNREGISTERED


def of_version_key(key: str) -> str:
    """Return the label of a key of the versions in a rollup."""
    return OTHER if key == _OTHER_KEY else version(value_of(key))


def version_number(schema_version: str | None) -> int | None:
    """Return the number of a registered version, None for an unregistered one."""
    match = VERSION.fullmatch(schema_version or "")
    return int(match[1]) if match else None


def version_colour(schema_version: str) -> str:
    """Return the colour that the version has in every chart."""
    number = version_number(schema_version)
    return GREY if number is None else VERSION_COLOURS[(number - 1) % len(VERSION_COLOURS)]


def version_pattern(schema_version: str) -> str:
    """Return the pattern that distinguishes versions of the same colour; "" for the first four versions."""
    number = version_number(schema_version)
    return "" if number is None else _PATTERNS[(number - 1) // len(VERSION_COLOURS) % len(_PATTERNS)]


def bar_colour(label: str) -> str:
    """Return grey for labels that do not stand for one value, the colour of values for the others."""
    return GREY if label in _RESERVED else VALUE_COLOUR
