"""The process that sends signals when the parent dies, and the script that registers a child with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from streamapp.local import parent_death, watchdog

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


@contextmanager
def watching() -> Generator[subprocess.Popen[str]]:
    """Run the watchdog; the end of the block is the parent's death."""
    with subprocess.Popen([sys.executable, "-P", watchdog.__file__], stdin=subprocess.PIPE, text=True) as process:
        yield process


@contextmanager
def sleeping() -> Generator[subprocess.Popen[bytes]]:
    """Run a child that does nothing."""
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def write(process: subprocess.Popen[str], text: str) -> None:
    """Write to its standard input."""
    assert process.stdin
    process.stdin.write(text)
    process.stdin.flush()


def test_each_child_gets_its_signal_at_the_end_of_the_input() -> None:
    """Not before; a child that has ended before is no error."""
    with sleeping() as one, sleeping() as two, sleeping() as ended:
        with watching() as process:
            write(process, f"{one.pid} {signal.SIGTERM:d}\n{ended.pid} {signal.SIGKILL:d}\n")
            ended.kill()
            ended.wait()
            write(process, f"{two.pid} {signal.SIGKILL:d}\n{ended.pid} {signal.SIGKILL:d}\n")
            assert (None, None) == (one.poll(), two.poll())

        assert process.returncode == 0
        assert (-signal.SIGTERM, -signal.SIGKILL) == (one.wait(), two.wait())


SIGNALLED = """
import signal
from streamapp.local import watchdog

def lines():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    yield from ()

watchdog.main(lines())
print("read to the end")
"""


def test_signals_do_not_end_it() -> None:
    """A service manager sends SIGTERM to all processes; the watchdog must be the last one to end."""
    assert subprocess.check_output([sys.executable, "-c", SIGNALLED], text=True) == "read to the end\n"


def test_a_child_registers_and_closes_the_pipe_before_it_runs_its_command() -> None:
    """A command that kept the pipe open would keep the watchdog from seeing the parent's end."""
    reads, writes = os.pipe()
    command = [sys.executable, "-c", f"import os; os.fstat({writes})"]
    child = subprocess.Popen(
        [sys.executable, "-IS", parent_death.__file__, str(os.getpid()), "9", str(writes), *command],
        pass_fds=[writes],
        stderr=subprocess.PIPE,
    )
    os.close(writes)
    with open(reads, encoding="ascii") as pipe:  # noqa: PTH123 - a file descriptor has no path
        registered = pipe.read()
    _, errors = child.communicate()

    assert registered == f"{child.pid} 9\n"
    assert b"Bad file descriptor" in errors


def test_a_child_whose_parent_has_died_already_does_not_run_its_command() -> None:
    """Its parent is another process than the one that started it."""
    reads, writes = os.pipe()
    done = subprocess.run(
        [sys.executable, "-IS", parent_death.__file__, "1", "9", str(writes), "echo", "ran"],
        pass_fds=[writes],
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(writes)
    os.close(reads)

    assert (1, "") == (done.returncode, done.stdout)
    assert "echo was not started: its parent process 1 has ended" in done.stderr
