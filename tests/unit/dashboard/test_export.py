"""What is shown, in files."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from streamlit import config

import dashboard
from dashboard.model import export
from tests.support.doubles.dashboard_reader import FakeReader, document, v1
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


def test_files_are_read_by_others_as_they_were_meant() -> None:
    """By pandas: whatever characters the labels have."""
    odd = ['a,"b"', "Ωπ 🦊", "two\nlines", "<b>$x$</b> **y**", "x" * 300]
    shown = snapshot_of(FakeReader([document(event_type=label) for label in odd]))

    table = pd.read_csv(io.BytesIO(export.as_csv(shown)), keep_default_na=False)
    typed = pd.read_parquet(io.BytesIO(export.as_parquet(shown)))

    labels = [*odd[:-1], "x" * 99 + "…"]
    assert dict.fromkeys(labels, 1) == dict(table[table.chart == "types"][["label", "events"]].to_numpy())
    assert dict.fromkeys(labels, 1) == dict(typed[typed.chart == "types"][["label", "events"]].to_numpy())
    assert shown.total == typed[typed.chart == "events over time"].events.sum()


@pytest.mark.parametrize("first", ["=", "+", "-", "@"])
def test_no_cell_begins_like_a_formula(first: str) -> None:
    """Whichever way a spreadsheet knows one."""
    shown = snapshot_of(FakeReader([document(browser=f"{first}1+1")]))

    labels = [row["label"] for row in csv.DictReader(io.StringIO(export.as_csv(shown).decode(), newline=""))]

    assert f"'{first}1+1" in labels


def test_a_label_with_space_at_its_beginning_is_in_quotes() -> None:
    """So it is no formula either."""
    shown = snapshot_of(FakeReader([document(browser="\t1+1")]))

    assert ("browsers", None, '"\\t1+1"', 1, 1) in [*export.rows(shown)]


@pytest.mark.parametrize("label", ["a;=1+1", "a,+1", "a\t@x", "a|-1", "a\n=1", "a; =1+1", ' "=1+1"', "＝1+1", "a;＠x"])
def test_no_part_of_a_cell_begins_like_a_formula(label: str) -> None:
    """Wherever a spreadsheet ends a cell: in some languages at a semicolon, with quotes or without."""
    shown = snapshot_of(FakeReader([document(browser=label)]))

    text = export.as_csv(shown).decode()

    cells = re.split(r"[;,|\t\r\n]", text)
    assert [] == [
        cell for cell in cells if re.match(r"""[\s"']*[=+\-@＝＋－＠]""", cell) and not re.match(r"""["\s]*'""", cell)
    ]


@pytest.mark.parametrize("label", ["a-b", "1+1=2", "me@example.com", "x;y", "Ωπ 🦊"])
def test_other_labels_stay_as_they_are(label: str) -> None:
    """A character of formulas inside a text is none."""
    shown = snapshot_of(FakeReader([document(browser=label)]))

    assert label in [row["label"] for row in csv.DictReader(io.StringIO(export.as_csv(shown).decode(), newline=""))]


def test_tables_of_streamlit_have_no_export() -> None:
    """Streamlit's own CSV file of a table would have the values as they are, and so would the clipboard."""
    options = tomllib.loads((Path(str(dashboard.__file__)).parent / ".streamlit" / "config.toml").read_text("utf-8"))

    assert options["client"]["disableDataExport"]
    assert "client.disableDataExport" in config.get_config_options()


def test_label_is_no_formula() -> None:
    """Any client may send labels, and spreadsheets run formulas."""
    shown = snapshot_of(FakeReader([document(event_type="=1+1")]))

    assert b",'=1+1,1" in export.as_csv(shown)
