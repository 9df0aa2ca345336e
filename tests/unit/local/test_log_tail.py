"""The end of a log, as shown in an error."""

from __future__ import annotations

from pathlib import Path

from streamapp.local.process import LINE_LENGTH, TAIL_LINES, tail


def test_tail_is_the_last_lines(tmp_path: Path) -> None:
    """Of a long log, only the end is shown."""
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)), encoding="utf-8")

    assert tail(log).splitlines() == [f"line {number}" for number in range(10_000 - TAIL_LINES, 10_000)]


def test_long_lines_are_shortened(tmp_path: Path) -> None:
    """One line must not fill the screen."""
    log = tmp_path / "log"
    log.write_text("word " * 1000, encoding="utf-8")

    assert len(tail(log)) <= LINE_LENGTH


def test_an_empty_log_is_shown_as_nothing(tmp_path: Path) -> None:
    """So that readers see that the log was read."""
    log = tmp_path / "log"
    log.touch()

    assert tail(log) == "(nothing)"


def test_errors_come_first(tmp_path: Path) -> None:
    """mongod prints many lines about its shutdown after the error that caused it."""
    log = tmp_path / "log"
    error = '{"t":{},"s":"E",  "c":"CONTROL","id":20568,"msg":"Error setting up listener"}'
    talk = [f'{{"t":{{}},"s":"I",  "c":"NETWORK","id":{number},"msg":"shutting down"}}' for number in range(40)]
    log.write_text("\n".join([*talk[:5], error, *talk[5:]]), encoding="utf-8")

    first, *rest = tail(log).splitlines()

    assert "Error setting up listener" in first
    assert ["shutting down" in line for line in rest] == [True] * (TAIL_LINES - 1)
