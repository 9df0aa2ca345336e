"""A value has one text, before it is stored and after it is read."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import CodecOptions, DatetimeMS, Decimal128
from bson.codec_options import DatetimeConversion

from streamapp.decode.document import LENIENT
from streamapp.model.value_text import text_of, values_of

VALUES: list[tuple[Any, str | None]] = [
    (None, None),
    ("", ""),
    ("chrome", "chrome"),
    (DatetimeMS(1_790_000_000_123), "2026-09-21T14:13:20.123Z"),
    (DatetimeMS(-1), "1969-12-31T23:59:59.999Z"),
    (DatetimeMS(0), "1970-01-01T00:00:00.000Z"),
    (DatetimeMS(2**60), str(2**60)),
    (DatetimeMS(-(2**60)), str(-(2**60))),
    (7, "7"),
    (2**40, str(2**40)),
    (1.5, "1.5"),
    (float("nan"), "nan"),
    (True, "true"),
    (False, "false"),
    (Decimal128("1.50"), "1.50"),
    (b"\0\xff", "00ff"),
    (b"x" * 41, "78" * 40 + "…"),
    (["a", DatetimeMS(5), None, 7], "['a', 1970-01-01T00:00:00.005Z, null, 7]"),
    ({"a": DatetimeMS(5), "b": {"c": []}}, "{'a': 1970-01-01T00:00:00.005Z, 'b': {'c': []}}"),
    ([[1]] * 100_000, f"[{', '.join(['[1]'] * 34)}, …]"),
]
#: Ways in which the driver may be asked to decode.
OPTIONS = [
    CodecOptions(),
    CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO),
    CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS),
    LENIENT,
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=lambda each: str(each)[:40])
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_a_value_has_the_same_text_once_it_is_read(value: Any, text: str | None, options: CodecOptions[Any]) -> None:
    """Whatever types the driver decodes to."""
    if options == OPTIONS[0] and isinstance(value, DatetimeMS) and abs(int(value)) > 2**50:
        options = LENIENT  # the driver's default cannot decode this date

    assert text == text_of(value) == text_of(bson.decode(bson.encode({"x": value}), options)["x"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(value, text) for value, text in VALUES if text and text.isascii() and text[0] not in "[{"],
    ids=str,
)
def test_a_filter_by_a_text_has_the_value(value: Any, text: str) -> None:
    """As MongoDB stores it."""
    stored = [bson.encode({"": each}) for each in values_of(text)]

    assert bson.encode({"": value}) in stored or value in values_of(text) or value != value  # noqa: PLR0124 - NaN
