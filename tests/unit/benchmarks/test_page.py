"""A drain writes its tables into the pages."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import page
from benchmarks.programs import PROGRAMS
from benchmarks.watching import Round

BLOCKS = "before\n<!-- measured: {} -->\nold\n<!-- /measured -->\nafter\n"


def measured(events_per_second: float) -> Round:
    """A round; all figures but the speed are the same."""
    return Round(
        events_per_second=events_per_second,
        cpu_micros_per_event=2.5,
        mongod_cpu_micros_per_event=6,
        kafka_cpu_micros_per_event=0.5,
        peak_memory_mb=180,
        seconds_to_first=1,
        seconds_to_last=2,
        seconds_to_rollups=0.5,
    )


def test_tables_are_replaced(tmp_path: Path) -> None:
    """The text around a block stays; each block gets its own columns."""
    full, short = tmp_path / "page.md", tmp_path / "README.md"
    full.write_text(BLOCKS.format("drain"), encoding="utf-8")
    short.write_text(BLOCKS.format("drain-speed"), encoding="utf-8")
    rounds = {name: [measured(200_000 / divisor) for divisor in (1, 2)] for name in (page.OURS, *page.COMPARED)}
    rounds["go-same"] = [measured(100_000), measured(50_000)]

    page.write(page.drain(rounds, events=500_000, verdict="The machine was quiet."), [full, short])

    written = full.read_text("utf-8")
    assert re.search(
        r"^before\n<!-- measured: drain -->\n500,000 events .*\n<!-- /measured -->\nafter\n$", written, re.DOTALL
    )
    assert "| events/s, until readable in MongoDB | 150,000 (100,000–200,000) |\n" in written
    assert "index of times | 2.00 (2.00–2.00) | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) |\n" in written
    assert "\nThe machine was quiet.\n" in written
    assert "index of times | 2.00 (2.00–2.00) |\n" in short.read_text("utf-8")


def test_other_tables_stay(tmp_path: Path) -> None:
    """A benchmark renews its own tables only."""
    file = tmp_path / "page.md"
    file.write_text(BLOCKS.format("insert"), encoding="utf-8")

    page.write({"stages": ["new"]}, [file])

    assert BLOCKS.format("insert") == file.read_text("utf-8")


def test_every_table_has_its_place() -> None:
    """Each stands in the documents once."""
    found = [name for each in page.PAGES for name in re.findall("<!-- measured: (.+) -->", each.read_text("utf-8"))]

    assert ["drain", "drain-speed", "insert", "stages"] == sorted(found)


def test_compared_programs_exist() -> None:
    """The page compares with programs that the benchmark has."""
    assert {page.OURS, *page.COMPARED} <= {program.name for program in PROGRAMS}
