"""A server's process: its death is noticed, it is stopped on request, and it never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest

from streamapp.errors import BackendError
from streamapp.local import children
from streamapp.local.process import Server
from tests.support.processes import with_variable
from tests.support.until import until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@contextmanager
def server(tmp_path: Path, *command: str, ready: str = "up") -> Generator[Server]:
    """Yield a server that is ready once `ready` is in its log."""
    log = tmp_path / "log"
    server = Server(name="Probe", command=command, log=log, answers=lambda: ready in log.read_text(encoding="utf-8"))
    yield server
    server.kill()


def test_server_that_dies_at_its_start_shows_the_tail_of_its_log(tmp_path: Path) -> None:
    """The error comes at once, with the exit code and the end of the log."""
    with (
        server(tmp_path, "sh", "-c", "echo no such disk; exit 3", ready="never") as probe,
        pytest.raises(BackendError, match=r"(?s)Probe has ended \(exit code 3\).*no such disk"),
    ):
        probe.start()


def test_server_that_never_answers_is_an_error_at_the_deadline(tmp_path: Path) -> None:
    """Also while its process runs."""
    with server(tmp_path, "sleep", "60", ready="never") as probe:
        probe.launch()

        with pytest.raises(BackendError, match=r"did not answer within 0\.2 s"):
            probe.wait_until_ready(0.2)


def test_server_is_stopped_although_a_signal_came_while_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of the signal raises in the main thread, which waits for the process."""
    is_handled, fork, started = Event(), children.start, list[subprocess.Popen[bytes]]()

    def handle(*_: object) -> None:
        is_handled.set()
        raise KeyboardInterrupt

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(fork(*arguments, **options))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert is_handled.wait(120)
        return started[0]

    monkeypatch.setattr(children, "start", start)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with server(tmp_path, "sleep", "60") as probe, pytest.raises(KeyboardInterrupt):
            probe.launch()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert [-signal.SIGKILL] == [process.poll() for process in started]


def test_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """The stop has a deadline."""
    with server(tmp_path, sys.executable, "-c", STUBBORN) as probe:
        probe.start()
        assert probe.pid
        process = psutil.Process(probe.pid)
        probe.stop(within_seconds=0.2)

        assert not process.is_running()


def test_paused_server_can_be_stopped(tmp_path: Path) -> None:
    """It is continued first, so that it can handle SIGTERM."""
    with server(tmp_path, "sh", "-c", "echo up; exec sleep 60") as probe:
        probe.start()
        assert probe.pid
        process = psutil.Process(probe.pid)
        probe.pause()
        until(lambda: process.status() == psutil.STATUS_STOPPED, what="the pause")
        probe.stop()

        assert not process.is_running()


def test_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel's death signal is tied to the thread that forked the server, which must not end."""
    with server(tmp_path, "sh", "-c", "echo up; exec sleep 60") as probe:
        thread = Thread(target=probe.start)
        thread.start()
        thread.join()

        probe.check()


PARENT = """
import os, signal, sys
from pathlib import Path
from streamapp.local import children
from streamapp.local.process import Server

def new_server(log):
    command = ["sh", "-c", "echo up; exec sleep 60"]
    return Server(name="Probe", command=command, log=log, answers=lambda: "up" in log.read_text())

children.KERNEL_SENDS_SIGNALS = sys.argv[1] == "kernel"
servers = [new_server(Path(sys.argv[2], str(number))) for number in range(3)]
for server in servers:
    server.start()
servers[0].kill()
print(*(server.pid for server in servers[1:]), flush=True)
{end}
"""
KERNEL = pytest.param("kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl"))
#: By name: the code with which the parent ends.
ENDS = {
    "kill -9": "os.kill(os.getpid(), signal.SIGKILL)",
    "kill -9 of the group": "os.killpg(0, signal.SIGKILL)",
    "without stopping them": "",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sender", [KERNEL, "watchdog"])
def test_servers_die_with_their_parent(sender: str, end: str, tmp_path: Path) -> None:
    """However the parent ends, and by both means; the process that sends the signals ends too."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT.format(end=ENDS[end]), sender, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        process_group=0,
        env=os.environ | {"PROBE": str(tmp_path)},
    )

    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    until(lambda: not any(map(psutil.pid_exists, pids)), within=10, what="the children's end")
    until(lambda: not with_variable("PROBE", str(tmp_path)), within=10, what="the end of all processes")
