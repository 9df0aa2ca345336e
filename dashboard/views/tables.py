"""Sizes of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from streamlit import column_config

from dashboard.views import address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Rows = Sequence[Mapping[str, Any]]

#: Of Streamlit's tables, in pixels.
ROW_HEIGHT, BORDER = 35, 3
#: Rows of a table that a kiosk shows, which cannot be scrolled.
_MOST_IN_KIOSK = 6
#: Characters of a value that make its column wide.
_LONG = 24


def height(rows: Rows, most: int | None = None) -> int | Literal["auto"]:
    """Return the height of a table with at most so many rows; None: as many as Streamlit shows, fewer in a kiosk."""
    if most is None and not address.is_kiosk():
        return "auto"
    return ROW_HEIGHT * (min(len(rows), most or _MOST_IN_KIOSK) + 1) + BORDER


def widths(rows: Rows) -> dict[str, Any]:
    """Return the widths of columns with long values, so that these leave space for the other columns."""
    long = {name for row in rows for name, value in row.items() if len(str(value)) > _LONG}
    return {name: column_config.Column(width="medium") for name in sorted(long)}
