"""The order of a start: first the programs, then the ports, then the servers; and what a taken port means."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import artifacts, kafka, mongod, ports, programs, registry
from streamapp.local.backend import Backend
from tests.backends import plain_settings


class Fake:
    """A server that starts nothing."""

    def __init__(self, ready: Callable[[], None] = lambda: None) -> None:
        self.is_running = False
        self.wait_until_ready = ready

    def launch(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def check(self) -> None:
        assert self.is_running


@pytest.fixture
def others() -> Generator[ExitStack]:
    """Return what keeps the sockets of others open."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return mongod's usual port in this test; nobody has it at first."""
    with socket.create_server((ports.HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    monkeypatch.setattr(ports, "USUAL", {"mongod": port})
    return port


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """Replace programs and servers; return the servers in the order of their start."""
    launched: list[Fake] = []

    def server(**_: object) -> Fake:
        launched.append(Fake())
        return launched[-1]

    for module in (kafka, mongod, registry):
        monkeypatch.setattr(module, "server", server)
    monkeypatch.setattr(programs, "java", lambda _: Path())
    monkeypatch.setattr(programs, "mongod", lambda _: Path())
    monkeypatch.setattr(artifacts, "registry_home", Path)
    monkeypatch.setattr(artifacts, "kafka_jars", lambda *_: [])
    return launched


def occupy(port: int, others: ExitStack) -> None:
    """Take a port as another program would."""
    others.enter_context(socket.create_server((ports.HOST, port)))


def dying(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None], launched: list[Fake]) -> None:
    """Let each mongod end during its start, unless `before` raises nothing."""

    def server(*, port: int, **_: object) -> Fake:
        launched.append(Fake(lambda: before(port)))
        return launched[-1]

    monkeypatch.setattr(mongod, "server", server)


def test_ports_are_chosen_after_the_downloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: ExitStack, usual: int
) -> None:
    """A port that somebody takes while we download is left to them."""

    def slow_download(*_: object) -> list[Path]:
        occupy(usual, others)
        return []

    monkeypatch.setattr(artifacts, "kafka_jars", slow_download)

    with Backend(tmp_path, plain_settings()) as backend:
        assert backend.ports.mongod != usual


def test_port_taken_during_the_start_means_another_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: ExitStack, usual: int, launched: list[Fake]
) -> None:
    """All is started again on other ports; what ran on the first ones is stopped."""

    def lose(port: int) -> None:
        if port == usual:
            occupy(port, others)
            raise BackendError("MongoDB has ended (exit code 48)")

    dying(monkeypatch, lose, launched)

    with Backend(tmp_path, plain_settings()) as backend:
        assert backend.ports.mongod != usual
        assert [server.is_running for server in launched] == [False] * 3 + [True] * 3
    assert not any(server.is_running for server in launched)


def test_port_taken_again_and_again_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: ExitStack, launched: list[Fake]
) -> None:
    """Three starts are enough."""

    def lose(port: int) -> None:
        occupy(port, others)
        raise BackendError("MongoDB has ended (exit code 48)")

    dying(monkeypatch, lose, launched)

    with pytest.raises(BackendError, match="MongoDB has ended"), Backend(tmp_path, plain_settings()):
        pass

    assert [server.is_running for server in launched] == [False] * 9


def test_server_that_ends_for_another_reason_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launched: list[Fake]
) -> None:
    """Other ports would not help it."""

    def fail(_: int) -> None:
        raise BackendError("MongoDB has ended (exit code 14)")

    dying(monkeypatch, fail, launched)

    with pytest.raises(BackendError, match="MongoDB has ended"), Backend(tmp_path, plain_settings()):
        pass

    assert [server.is_running for server in launched] == [False] * 3
