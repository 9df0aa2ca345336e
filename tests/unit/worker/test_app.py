"""The worker's wiring, without a connection: Faust's configuration, and how the command line ends."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Never

import click
import pytest
from mode import CrashingSupervisor

import streamapp
from streamapp.__main__ import main


def _interrupted(*_: object) -> Never:
    raise KeyboardInterrupt


class _App:
    def __init__(self, main: Any) -> None:
        self.main = main


def test_dead_worker_is_replaced_within_15_seconds() -> None:
    """The group gives a silent worker's partitions away after 15 s, and sees new partitions and topics as soon."""
    conf = streamapp.app.conf

    assert (conf.broker_session_timeout, conf.consumer_metadata_max_age_ms) == (15.0, 15_000)
    assert conf.broker_heartbeat_interval <= conf.broker_session_timeout / 3


@pytest.mark.parametrize(("arguments", "loop"), [([], "uvloop"), (["--loop", "aio"], "asyncio.unix_events")])
def test_event_loop_is_uvloop_unless_another_is_asked_for(arguments: Sequence[str], loop: str) -> None:
    """In a process of its own: it is the one of the whole process."""
    said = "import asyncio, streamapp.worker.app; print(type(asyncio.new_event_loop()).__module__)"

    done = subprocess.run([sys.executable, "-c", said, *arguments], capture_output=True, text=True, check=True)

    assert loop == done.stdout.strip()


def test_partitions_are_assigned_by_the_client() -> None:
    """Faust's own way fails for ever where a topic that is deleted and re-created has fewer partitions than before."""
    assert streamapp.app.conf.table_standby_replicas == 0


def test_rebalance_waits_for_what_is_being_settled() -> None:
    """Partitions are not given away during a batch, which the next owner would then store once more."""
    assert streamapp.app.conf.stream_wait_empty is True


def test_pages_are_for_this_machine_only() -> None:
    """Nobody but this machine reaches the pages unless STREAMAPP_WEB_HOST says otherwise."""
    assert (streamapp.app.conf.web_bind, streamapp.app.conf.web_host) == ("127.0.0.1", "127.0.0.1")


def test_libraries_make_no_debug_records() -> None:
    """They would at Faust's default level, for its spinner, at 6 % of the worker's CPU."""
    from streamapp.worker.shutdown import BoundedWorker  # noqa: PLC0415 - not before the environment is cleared

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


def test_memory_is_looked_after_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that are there already keep their heaps."""
    from streamapp.worker import app as worker_app  # noqa: PLC0415 - see below
    from streamapp.worker import memory  # noqa: PLC0415 - not before the environment is cleared

    calls = list[str]()
    monkeypatch.setattr(memory, "limit_malloc_arenas", lambda: calls.append("limit_malloc_arenas"))

    worker_app.dependencies.__wrapped__()

    assert calls == ["limit_malloc_arenas"]


def test_failure_of_the_agent_ends_the_worker() -> None:
    """An agent that is started again would go on behind the record that it failed on."""
    from streamapp.worker import app as worker_app  # noqa: PLC0415 - not before the environment is cleared

    assert worker_app.store_events.supervisor_strategy is CrashingSupervisor


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
    """The exit code is a shell's for SIGINT."""
    monkeypatch.delitem(vars(streamapp), "app", raising=False)
    monkeypatch.setattr(streamapp, "__getattr__", _interrupted)

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130


@pytest.mark.parametrize("run", [_interrupted, click.Command("some", callback=_interrupted)])
def test_ctrl_c_in_a_command_ends_without_traceback(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Be it before or within click, which has an exit code of its own for it."""
    monkeypatch.setattr("sys.argv", ["streamapp"])
    monkeypatch.setitem(vars(streamapp), "app", _App(run))

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 130


def test_exit_code_of_a_command_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no Ctrl-C ends as the command wants it."""
    monkeypatch.setattr("sys.argv", ["streamapp"])
    monkeypatch.setitem(
        vars(streamapp), "app", _App(click.Command("some", callback=lambda: click.get_current_context().exit(7)))
    )

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 7
