"""Write a Snapshot as a table to a file; pure."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dashboard.model.snapshot import Snapshot

COLUMNS = ("chart", "bucket_start", "label", "events", "events_at_most")

ExportRow = tuple[str, "datetime | None", str, int, int]


def rows(shown: Snapshot) -> Iterator[ExportRow]:
    """Return each bar of each chart; those of the chart over time have a bucket.

    The last two columns are equal where a count is exact.
    """
    for series in shown.volume:
        for bucket, n in zip(shown.window.buckets, series.per_bucket, strict=True):
            yield "events over time", bucket, series.version, n, n + shown.possible
    for name, parts in shown.parts.items():
        for part in parts:
            yield name, None, part.label, part.least, part.most


def as_csv(shown: Snapshot) -> bytes:
    """Return a CSV file, its times in ISO 8601 UTC."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(
        (chart, at.isoformat() if at else "", _inert(label), *events) for chart, at, label, *events in rows(shown)
    )
    return file.getvalue().encode()


def as_parquet(shown: Snapshot) -> bytes:
    """Return a Parquet file."""
    types = (pa.string(), pa.timestamp("ms", tz="UTC"), pa.string(), pa.int64(), pa.int64())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    table = pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows(shown)], schema=schema)
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


#: The begin of a formula, also in full width, at the begin of a cell: of the label, or after what some spreadsheet, by
#: its language, takes as the end of a cell or a line. Spreadsheets skip blanks and quotes before a formula.
_FORMULA = re.compile(r"""(^|[;,|\t\r\n])(?=[\s"']*[=+\-@＝＋－＠])""")
_CONTROL = ("\t", "\r", "\n")


def _inert(label: str) -> str:
    # Labels are values of events. An apostrophe makes a spreadsheet take a cell as text.
    marked = _FORMULA.sub(r"\1'", label)
    return f"'{marked}" if marked.startswith(_CONTROL) else marked
