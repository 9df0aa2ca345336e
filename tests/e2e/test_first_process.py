"""`streamapp` as the first process of a container, started as the image starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.until import until

ENTRYPOINT = ["env", "--block-signal=TERM", "--block-signal=INT"]
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child"]


def _can_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _can_unshare(), reason="this user cannot make a namespace for process ids")


@pytest.mark.parametrize("command", ["worker", "dashboard"])
@pytest.mark.parametrize("after", [0, 0.1, 0.4])
def test_sigterm_in_the_first_second_ends_it(tmp_path: Path, command: str, after: float) -> None:
    """The kernel discards signals for a first process without a handler; here they wait for the handler."""
    with _first_process(tmp_path, command) as (unshare, pid):
        time.sleep(after)

        os.kill(pid, signal.SIGTERM)

        # The grace period of Docker is 10 s.
        assert unshare.wait(10) in {0, 128 + signal.SIGTERM}


@contextmanager
def _first_process(folder: Path, command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    started = [*UNSHARE, *ENTRYPOINT, sys.executable, "-m", "streamapp", command]
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(started, cwd=folder, stdout=log, stderr=log) as unshare:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        (pid,) = until(lambda: children.read_text().split(), what="the first process")
        # Before, the process is unshare's or env's, which has not blocked the signals yet.
        program = os.fsencode(sys.executable)
        until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(program), what="the program")
        try:
            yield unshare, int(pid)
        finally:
            unshare.kill()
