"""The worker ends within its shutdown deadline."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

BLOCKED = """
import asyncio
import faust
from streamapp.worker.shutdown import BoundedWorker

class Blocked(BoundedWorker):
    deadline = 0.5

    async def start(self):
        self.install_signal_handlers()
        print("blocked", flush=True)
        while True:
            pass

app = faust.App("blocked", broker="kafka://127.0.0.1:1", web_enabled=False)
Blocked(app, loop=asyncio.new_event_loop()).execute_from_commandline()
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_whose_event_loop_is_blocked(stop: signal.Signals) -> None:
    """The deadline passes in a thread."""
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"blocked\n"
            started = time.monotonic()
            worker.send_signal(stop)
            _, error = worker.communicate(timeout=120)
        finally:
            worker.kill()
    assert worker.returncode == 1
    assert b"shutdown deadline exceeded" in error
    assert time.monotonic() - started >= 0.5
