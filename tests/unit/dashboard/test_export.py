"""What is shown, in files."""

from __future__ import annotations

import csv
import io

import pyarrow.parquet as pq

from dashboard import export
from tests.dashboard_fakes import FakeReader, document, v1
from tests.unit.dashboard.test_compute import snapshot_of


def test_csv_holds_every_bar() -> None:
    """The events of each chart add up to the total."""
    shown = snapshot_of(FakeReader([document(), v1()]))

    rows = list(csv.DictReader(io.StringIO(export.as_csv(shown).decode())))

    for chart in ("events over time", "types", "browsers", "devices", "locations"):
        assert 2 == sum(int(row["events"]) for row in rows if row["chart"] == chart)
    assert "2026-03-01T11:45:00+00:00" == rows[0]["bucket_start"]


def test_parquet_holds_the_same() -> None:
    """With times as times."""
    shown = snapshot_of(FakeReader([document(), v1()]))

    table = pq.read_table(io.BytesIO(export.as_parquet(shown)))

    assert list(export.rows(shown)) == [tuple(row.values()) for row in table.to_pylist()]


def test_label_is_no_formula() -> None:
    """Labels come from whoever sends events, and spreadsheets run them."""
    shown = snapshot_of(FakeReader([document(event_type="=1+1")]))

    assert b",'=1+1,1" in export.as_csv(shown)
