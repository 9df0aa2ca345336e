"""`streamapp up` as people and scripts run it: what CMD gets, how it ends, and that no process is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from streamapp.commands.interrupts import Interrupts
from streamapp.commands.up import watch
from tests.support.processes import with_variable
from tests.support.until import until

# Prints "waiting" when it runs; ends with 5 at Ctrl-C, and with 9 at SIGTERM.
WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(5))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("waiting", flush=True)
time.sleep(120)
"""
WAIT = ["--", sys.executable, "-c", WAITING]
REPORT = "import json, os, sys; print(json.dumps([sys.stdin.read(), dict(os.environ)])); sys.exit(7)"
SERVERS = 3
STREAMAPP = ("-m", "streamapp")
#: streamapp with the watchdog, as on systems whose kernel sends no signal when a parent dies.
WATCHED = (
    "-c",
    """
from streamapp.__main__ import main
from streamapp.local import children
children.KERNEL_SENDS_SIGNALS = False
main()
""",
)
ROUND_TRIP = "import runpy; runpy.run_path('.ci/round_trip.py', run_name='__main__')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder for the temporary files of `up`, which identifies its servers."""
    return tmp_path


@contextmanager
def up(
    folder: Path, *arguments: str, program: Sequence[str] = STREAMAPP, **environ: str
) -> Generator[subprocess.Popen[str]]:
    """Run `streamapp up` in a process group of its own, as a shell does."""
    process = subprocess.Popen(
        [sys.executable, *program, "up", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)} | environ,
        process_group=0,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # before its end is waited for


def servers(folder: Path) -> list[psutil.Process]:
    """Return the servers whose data is in the folder."""
    running = psutil.process_iter(["cmdline"])
    return [process for process in running if str(folder) in " ".join(process.info["cmdline"] or [])]


def is_clean(folder: Path) -> bool:
    """Return whether no server runs and no file is left."""
    return not servers(folder) and not list(folder.iterdir())


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of its standard output."""
    assert process.stdout
    return process.stdout.readline().strip()


def test_cmd_gets_stdin_and_addresses_and_its_exit_code_is_returned(folder: Path) -> None:
    """`up -- CMD` behaves as CMD, and leaves neither processes nor files."""
    with up(folder, "--", sys.executable, "-c", REPORT, OURS="kept") as process:
        output, errors = process.communicate("typed")
        stdin, environ = json.loads(output)

    assert process.returncode == 7, errors
    assert stdin == "typed"
    assert environ["OURS"] == "kept"
    assert {"STREAMAPP_KAFKA_BOOTSTRAP_SERVERS", "STREAMAPP_SCHEMA_REGISTRY_URL", "STREAMAPP_MONGO_URI"} <= set(environ)
    assert is_clean(folder)


def test_addresses_are_printed_until_ctrl_c(folder: Path) -> None:
    """Without CMD, `up` prints the variables to export; it avoids ports that are in use; Ctrl-C ends it with 0."""
    with ExitStack() as occupant:
        with suppress(OSError):  # then another program has it
            occupant.enter_context(socket.create_server(("127.0.0.1", 9092)))
        with up(folder) as process:
            printed = dict(read_line(process).split("=", 1) for _ in range(3))
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate()

    assert process.returncode == 0, errors
    assert "because port 9092 is in use" in errors
    assert printed["STREAMAPP_KAFKA_BOOTSTRAP_SERVERS"] != "127.0.0.1:9092"
    assert is_clean(folder)


def test_ctrl_c_directly_after_the_addresses_is_an_ordinary_end() -> None:
    """A script can send the signal as soon as it has read the addresses."""
    with Interrupts() as interrupts:
        watch([], interrupts, lambda: signal.raise_signal(signal.SIGINT))


def test_ctrl_c_reaches_the_command_first(folder: Path) -> None:
    """Ctrl-C reaches CMD too, which is in the same process group; `up` waits for it and returns its exit code."""
    with up(folder, *WAIT) as process:
        assert read_line(process) == "waiting"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate()

    assert process.returncode == 5, errors
    assert is_clean(folder)


def test_sigterm_is_forwarded_to_the_command(folder: Path) -> None:
    """CMD ends first, then the backend."""
    with up(folder, *WAIT) as process:
        assert read_line(process) == "waiting"
        process.terminate()
        _, errors = process.communicate()

    assert process.returncode == 9, errors
    assert is_clean(folder)


def test_dead_server_ends_the_command(folder: Path) -> None:
    """If a server dies, `up` ends CMD and itself, names the server and prints the end of its log."""
    with up(folder, *WAIT) as process:
        assert read_line(process) == "waiting"
        next(server for server in servers(folder) if "mongod" in server.name()).kill()
        _, errors = process.communicate()

    assert process.returncode == 1
    assert "MongoDB has ended (killed by SIGKILL). The end of its log" in errors
    assert is_clean(folder)


def test_kill_9_ends_all_children(folder: Path) -> None:
    """Without any cleanup by `up`, no server and no command keeps running; the data of a chosen folder stays."""
    with up(folder, "--data-dir", str(folder / "new" / "data"), *WAIT) as process:
        assert read_line(process) == "waiting"
        command = next(each for each in psutil.Process(process.pid).children() if WAITING in each.cmdline())
        assert len(servers(folder)) == SERVERS + 1  # and `up` itself
        process.kill()
        process.wait()

        until(lambda: not servers(folder) and not command.is_running(), within=10, what="the end of the children")
    assert (folder / "new" / "data").is_dir()


def test_a_watchdog_ends_all_children_after_a_kill_9(folder: Path) -> None:
    """As on macOS: events are stored; after a kill -9 no server, no command and no watchdog is left."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with up(folder, "--", sys.executable, "-c", ROUND_TRIP + WAITING, program=WATCHED, PATH=path) as process:
        assert "50 events sent and stored" in iter(partial(read_line, process), "waiting")
        assert len(servers(folder)) == SERVERS
        process.kill()
        process.wait()

        until(lambda: not with_variable("TMPDIR", str(folder)), within=10, what="the end of all processes")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", [[], WAIT], ids=["alone", "with CMD"])
def test_signal_during_the_start_leaves_nothing(folder: Path, arguments: list[str], number: signal.Signals) -> None:
    """An interrupted start ends all servers and prints that; CMD is not run."""
    with up(folder, *arguments) as process:
        until(lambda: servers(folder), within=90, what="the first server")
        os.killpg(process.pid, number)
        output, errors = process.communicate()

    assert process.returncode == 128 + number, errors
    assert "Interrupted during the start. All processes have ended." in errors
    assert "Traceback" not in errors
    assert not output
    assert is_clean(folder), ([p.info for p in servers(folder)], [*folder.rglob("*")])


def test_ctrl_c_while_importing_is_no_traceback(folder: Path) -> None:
    """Ctrl-C during the imports of the first second ends it with the exit code that a shell expects."""
    if not hasattr(psutil.Process, "memory_maps"):
        pytest.skip("the imports of a process are not known on this system")
    with up(folder) as process:
        maps = psutil.Process(process.pid).memory_maps
        until(lambda: any("/pydantic_core/" in file.path for file in maps()), what="the imports")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate()

    # In code compiled from a string, as in dataclasses, Python dies of the signal itself; a shell reports 130 then.
    assert process.returncode in {128 + signal.SIGINT, -signal.SIGINT}, errors
    assert "Traceback" not in errors


def test_without_network_the_error_names_the_alternatives(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without network and with an empty cache, the error names the missing download and the alternatives."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "STREAMAPP_LOCAL_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    with up(folder, **nowhere) as process:
        _, errors = process.communicate()

    assert process.returncode == 1
    assert "Apicurio Registry 3.3.3 cannot be downloaded: no answer" in errors
    assert "compose.yaml" in errors
    assert "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS" in errors
    assert is_clean(folder)


def test_unknown_command_is_wrong_usage(folder: Path) -> None:
    """A CMD that does not exist is an error before any server is started."""
    with up(folder, "--", "no-such-command") as process:
        _, errors = process.communicate()

    assert process.returncode == 2
    assert "The command 'no-such-command' was not found" in errors
