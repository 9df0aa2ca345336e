"""The Faust app without a connection: its configuration, and the exit codes of the command line."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import click
import pytest

import streamapp
from streamapp.__main__ import main
from streamapp.monitoring.json_logs import JSON_LOGS

PRINT_LOOP = "import asyncio, streamapp.worker.app; print(type(asyncio.new_event_loop()).__module__)"
PRINT_CONF = """
import streamapp
conf = streamapp.app.conf
print(conf.id, ";".join(map(str, conf.broker)), conf.broker_session_timeout, conf.broker_max_poll_interval)
print(conf.web_bind, conf.web_host, conf.web_port)
"""


def _output(code: str, *arguments: str, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run the code in a process of its own, and return its output."""
    command = [sys.executable, "-c", code, *arguments]
    environ = {**os.environ, **(environ or {})}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environ, cwd=folder).stdout


def _interrupted(*_: object) -> Never:
    raise KeyboardInterrupt


def _command(callback: Callable[[], object]) -> click.Command:
    """Return a command that accepts any arguments."""
    return click.Command("any", callback=callback, context_settings={"allow_extra_args": True})


class _App:
    def __init__(self, main: Any) -> None:
        self.main = main


@pytest.mark.parametrize(("arguments", "loop"), [([], "uvloop"), (["--loop", "aio"], "asyncio.unix_events")])
def test_event_loop_is_uvloop_by_default(arguments: Sequence[str], loop: str) -> None:
    """`--loop` wins."""
    assert loop == _output(PRINT_LOOP, *arguments).strip()


def test_the_sink_hurries_when_the_consumer_leaves_its_partitions() -> None:
    """Else batches that wait for the next write of the rollups would be read and inserted again."""
    code = """
from types import SimpleNamespace
from streamapp.worker import app
app.dependencies = lambda: SimpleNamespace(sink=SimpleNamespace(hurry=print))
app.app.transport._options.hurry(2.5)
"""

    assert _output(code).strip() == "2.5"


def test_settings_reach_faust(tmp_path: Path) -> None:
    """Each setting that Faust reads has its value in Faust's configuration."""
    environ = {
        "STREAMAPP_APP_ID": "group",
        "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS": "one:1,two:2",
        "STREAMAPP_SESSION_TIMEOUT_SECONDS": "21",
        "STREAMAPP_MAX_POLL_INTERVAL_SECONDS": "700",
        "STREAMAPP_WEB_HOST": "127.0.0.2",
        "STREAMAPP_WEB_PORT": "7077",
    }

    assert [
        "group",
        "kafka://one:1;kafka://two:2",
        *("21.0", "700.0"),
        *("127.0.0.2", "127.0.0.2", "7077"),
    ] == _output(PRINT_CONF, environ=environ, folder=tmp_path).split()


def test_registry_client_does_not_import_the_command_line_of_httpx() -> None:
    """rich and pygments would take a tenth of a second at each start of a worker."""
    code = "import streamapp.worker.dependencies, sys; print({'rich', 'pygments'} & sys.modules.keys())"

    assert "set()" == _output(code).strip()


def test_http_requests_are_not_logged() -> None:
    """The HTTP libraries log every request at INFO; the worker raises their level."""
    code = """
import asyncio, logging, streamapp
from streamapp.worker.shutdown import BoundedWorker
BoundedWorker(streamapp.app, loop=asyncio.new_event_loop(), loglevel="INFO")
print([logging.getLogger(name).isEnabledFor(logging.INFO) for name in ("httpx", "httpcore", "schema_registry")])
"""

    assert "[False, False, False]" == _output("import logging; logging.basicConfig(level=logging.INFO)" + code).strip()


def test_libraries_make_no_debug_records() -> None:
    """Faust's spinner would set all loggers to DEBUG, at 6 % of the worker's CPU time."""
    from streamapp.worker.shutdown import BoundedWorker  # noqa: PLC0415 - after conftest has cleared the environment

    root, loop = logging.getLogger(), asyncio.new_event_loop()
    level, handlers = root.level, [*root.handlers]
    try:
        worker = BoundedWorker(streamapp.app, loop=loop, loglevel="WARN")
        worker.on_setup_root_logger(root, logging.WARNING)

        assert (level, handlers) == (root.level, root.handlers)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        loop.close()


@pytest.mark.parametrize(
    ("logging_config", "level", "printed", "logged"),
    [
        (None, "INFO", "ready\n", []),
        (None, "WARNING", "ready\n", []),
        (JSON_LOGS, "INFO", "", ["[^BoundedWorker]: Ready"]),
        (JSON_LOGS, "WARNING", "", []),
    ],
    ids=["text, info", "text", "json, info", "json"],
)
def test_the_end_of_the_start_is_reported_once(
    logging_config: Any, level: str, printed: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A text log has it at every level; a log in JSON has nothing but lines of the log."""
    from streamapp.worker.shutdown import BoundedWorker  # noqa: PLC0415 - after conftest has cleared the environment

    loop, output = asyncio.new_event_loop(), io.StringIO()
    worker: Any = BoundedWorker(streamapp.app, loop=loop, loglevel=level, stdout=output)
    worker.app = SimpleNamespace(conf=SimpleNamespace(logging_config=logging_config))
    try:
        with caplog.at_level(level):
            loop.run_until_complete(worker.on_startup_finished())
    finally:
        loop.close()

    assert (printed, logged) == (output.getvalue(), caplog.messages)


def test_batch_of_a_lost_assignment_is_not_acked_and_the_agent_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka delivers its records again; batches of other partitions are settled meanwhile."""
    from streamapp.errors import AssignmentLost  # noqa: PLC0415 - not before the environment is cleared
    from streamapp.worker import app as worker_app  # noqa: PLC0415

    class Sink:
        async def settle(self, _: object) -> None:
            raise AssignmentLost

    acked = list[bool]()
    event = SimpleNamespace(value=None, ack=lambda: acked.append(True))
    monkeypatch.setattr(worker_app, "dependencies", lambda: SimpleNamespace(sink=Sink()))

    asyncio.run(worker_app._settle(event))

    assert [] == acked


def test_ctrl_c_while_importing_ends_without_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 130, as in a shell."""
    monkeypatch.setattr("sys.argv", ["streamapp", "worker"])
    monkeypatch.delitem(vars(streamapp), "app", raising=False)
    monkeypatch.setattr(streamapp, "__getattr__", _interrupted)

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130


@pytest.mark.parametrize("run", [_interrupted, _command(_interrupted)])
def test_ctrl_c_in_a_command_ends_without_traceback(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Click catches the interrupt and would exit with 1; the exit code is 130."""
    monkeypatch.setattr("sys.argv", ["streamapp", "worker"])
    monkeypatch.setitem(vars(streamapp), "app", _App(run))

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130


def test_exit_code_of_a_command_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only Ctrl-C changes the exit code."""
    monkeypatch.setattr("sys.argv", ["streamapp", "worker"])
    monkeypatch.setitem(vars(streamapp), "app", _App(_command(lambda: click.get_current_context().exit(7))))

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 7
