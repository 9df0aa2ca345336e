"""The first command of the README: it runs everything, and leaves neither processes nor files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.support.until import until
from tests.support.workers import STREAMAPP

SCENARIO = """title = "A short lesson"
summary = "It plays beside the worker's sample events."
[[steps]]
title = "one"
say = "V1 is sent."
look = "The view Schemas."
see = "More of v1."
send = { events = 20, seconds = 1, mix = { v1 = 1.0 } }
pause_seconds = 0
"""


@pytest.mark.timeout(900)
def test_demo_shows_events_and_leaves_nothing(tab: Page, tmp_path: Path) -> None:
    """The dashboard counts the worker's first events, and a scenario is played; Ctrl-C ends every process."""
    out, err, lesson = tmp_path / "out", tmp_path / "err", tmp_path / "lesson.toml"
    lesson.write_text(SCENARIO)
    command = [STREAMAPP, "demo", "--scenario", str(lesson)]
    environ = {**os.environ, "TMPDIR": str(tmp_path), "STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0.2"}
    with out.open("wb") as stdout, err.open("wb") as stderr:
        demo = subprocess.Popen(command, env=environ, stdout=stdout, stderr=stderr, start_new_session=True)
    children: list[psutil.Process] = []
    try:
        address = until(lambda: _address(demo, out, err), within=120, what="the dashboard's address")
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 5
        tab.goto(address)
        expect(tab.get_by_text("Total events")).to_be_visible(timeout=180_000)
        expect(tab.locator("body")).to_contain_text(re.compile(r"Total events\s*[1-9]"), timeout=180_000)
        # A day of history, whose last quarter of an hour has more events than the worker has produced by now.
        expect(tab.locator("body")).to_contain_text(re.compile(r"20,[0-9]{3} all time"), timeout=180_000)
        assert "All events on the page are sample data." in err.read_text()
        until(lambda: "✓ Nothing is lost or double" in out.read_text(), within=150, what="the end of the scenario")
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(200)

    assert code == 0, err.read_text()
    assert [] == [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert {"out", "err", "lesson.toml"} == {path.name for path in tmp_path.iterdir()}


def test_ctrl_c_during_the_start_of_demo_leaves_nothing(tmp_path: Path) -> None:
    """It prints that, and has the exit code of `up`."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([STREAMAPP, "demo"], env=environ, stderr=subprocess.PIPE, text=True) as demo:
        until(lambda: psutil.Process(demo.pid).children(), what="the first server")
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=200)

    assert demo.returncode == 128 + signal.SIGINT, errors
    assert "Interrupted during the start. All processes have ended." in errors
    assert [] == list(tmp_path.iterdir())


def _address(demo: subprocess.Popen[bytes], out: Path, err: Path) -> str | None:
    assert demo.poll() is None, err.read_text()
    found = re.search(r"^dashboard +(\S+)$", out.read_text(), re.MULTILINE)
    if not found:
        return None
    with urlopen(found[1]) as page:
        assert page.status == 200
    return found[1]
