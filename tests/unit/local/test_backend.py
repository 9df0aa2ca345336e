"""The start of the backend: programs, ports, servers, in this order; and what happens if a port is in use."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from streamapp import net
from streamapp.commands import up
from streamapp.errors import BackendError
from streamapp.local import artifacts, kafka, mongod, ports, programs, registry
from streamapp.local.backend import Backend
from tests.support.backends import plain_settings


class Fake:
    """A server that starts nothing."""

    def __init__(self, name: str = "server", ready: Callable[[], None] = lambda: None) -> None:
        self.name, self.pid, self.log = name, 7, Path("its.log")
        self.is_running = False
        self._ready = ready

    def wait_until_ready(self, within_seconds: float) -> None:
        assert within_seconds > 0
        self._ready()

    def launch(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def unexpected_end(self) -> str | None:
        return None if self.is_running else "exit code 9"

    def check(self) -> None:
        if end := self.unexpected_end():
            message = f"{self.name} has ended ({end})"
            raise BackendError(message)


@pytest.fixture
def others() -> Generator[ExitStack]:
    """Return a stack that keeps the sockets of other programs open."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return mongod's usual port in this test; it is free at first."""
    with socket.create_server((net.HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    monkeypatch.setattr(ports, "USUAL", {"mongod": port})
    return port


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """Replace programs and servers; return the servers in the order of their start."""
    launched: list[Fake] = []

    def fakes(name: str, number: int = 1) -> list[Fake]:
        launched.extend(Fake(f"{name} {each}") for each in range(1, number + 1))
        return launched[-number:]

    monkeypatch.setattr(kafka, "servers", lambda **given: fakes("Kafka", len(given["ports"].kafkas)))
    monkeypatch.setattr(mongod, "servers", lambda **given: fakes("MongoDB", len(given["ports"])))
    monkeypatch.setattr(registry, "server", lambda **_: fakes("registry")[0])
    monkeypatch.setattr(programs, "java", lambda _: Path())
    monkeypatch.setattr(programs, "mongod", lambda _: Path())
    monkeypatch.setattr(artifacts, "registry_home", Path)
    monkeypatch.setattr(artifacts, "kafka_jars", lambda *_: [])
    return launched


def occupy(port: int, others: ExitStack) -> None:
    """Listen on a port, as another program would."""
    others.enter_context(socket.create_server((net.HOST, port)))


def dying(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None], launched: list[Fake]) -> None:
    """Make each mongod end during its start, if `before` raises an error."""

    def servers(*, ports: Sequence[int], **_: object) -> list[Fake]:
        launched.append(Fake(ready=lambda: before(ports[0])))
        return launched[-1:]

    monkeypatch.setattr(mongod, "servers", servers)


def test_ports_are_chosen_after_the_downloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: ExitStack, usual: int
) -> None:
    """A port that another program takes during the download is not used."""

    def slow_download(*_: object) -> list[Path]:
        occupy(usual, others)
        return []

    monkeypatch.setattr(artifacts, "kafka_jars", slow_download)

    with Backend(tmp_path, plain_settings()) as backend:
        assert backend.ports.mongods[0] != usual


def test_a_port_taken_during_the_start_leads_to_another_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: ExitStack, usual: int, launched: list[Fake]
) -> None:
    """The servers are stopped, and started again on other ports."""

    def lose(port: int) -> None:
        if port == usual:
            occupy(port, others)
            raise BackendError("MongoDB has ended (exit code 48)")

    dying(monkeypatch, lose, launched)

    with Backend(tmp_path, plain_settings()) as backend:
        assert backend.ports.mongods[0] != usual
        assert [server.is_running for server in launched] == [False] * 3 + [True] * 3
    assert not any(server.is_running for server in launched)


def test_a_port_taken_at_each_of_three_starts_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: ExitStack, launched: list[Fake]
) -> None:
    """The error is that of the last start."""

    def lose(port: int) -> None:
        occupy(port, others)
        raise BackendError("MongoDB has ended (exit code 48)")

    dying(monkeypatch, lose, launched)

    with pytest.raises(BackendError, match="MongoDB has ended"), Backend(tmp_path, plain_settings()):
        pass

    assert [server.is_running for server in launched] == [False] * 9


def test_a_server_that_ends_for_another_reason_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launched: list[Fake]
) -> None:
    """Other ports would not help."""

    def fail(_: int) -> None:
        raise BackendError("MongoDB has ended (exit code 14)")

    dying(monkeypatch, fail, launched)

    with pytest.raises(BackendError, match="MongoDB has ended"), Backend(tmp_path, plain_settings()):
        pass

    assert [server.is_running for server in launched] == [False] * 3


def test_the_loss_of_one_of_three_members_is_printed_once(
    tmp_path: Path, launched: list[Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr: which member has ended, and that the others continue."""
    with Backend(tmp_path, plain_settings(), brokers=3) as backend:
        kafkas = [server for server in launched if "Kafka" in server.name]
        kafkas[1].is_running = False

        up.check_backend(backend)
        up.check_backend(backend)

    warning = "Kafka 2 has ended (exit code 9). The other members continue. Its log: its.log\n"
    assert capsys.readouterr() == ("", warning)


def test_the_loss_of_two_of_three_members_is_an_error(tmp_path: Path, launched: list[Fake]) -> None:
    """The remaining one has no majority."""
    with Backend(tmp_path, plain_settings(), mongods=3) as backend:
        for lost in (0, 2):
            launched[lost].is_running = False

        with pytest.raises(BackendError, match="MongoDB 3 has ended"):
            backend.check()


def test_the_data_folder_fixes_the_number_of_members(tmp_path: Path) -> None:
    """A later start can omit it, and cannot change it."""
    with Backend(tmp_path, plain_settings(), brokers=3, mongods=5):
        pass

    with Backend(tmp_path, plain_settings()) as backend:
        assert (len(backend.kafkas), len(backend.mongods)) == (3, 5)
    with (
        pytest.raises(BackendError, match=r"created with `--brokers 3 --mongods 5`.*cannot be changed"),
        Backend(tmp_path, plain_settings(), brokers=1),
    ):
        pass


def test_a_data_folder_of_an_earlier_version_has_one_server_of_each_kind(tmp_path: Path) -> None:
    """It has no file with the numbers."""
    (tmp_path / "mongod").mkdir()

    with (
        pytest.raises(BackendError, match=r"`--brokers 1 --mongods 1`"),
        Backend(tmp_path, plain_settings(), mongods=3),
    ):
        pass


def test_addresses_contain_all_members(tmp_path: Path) -> None:
    """So that clients reach the others if one is lost; a single MongoDB is connected to directly."""
    with Backend(tmp_path / "several", plain_settings(), brokers=3, mongods=3) as backend:
        kafkas, mongods = backend.ports.kafkas, backend.ports.mongods
        lines = backend.member_addresses()

        assert backend.addresses.kafka_bootstrap_servers.split(",") == [f"127.0.0.1:{port}" for port in kafkas]
        hosts = ",".join(f"127.0.0.1:{port}" for port in mongods)
        assert backend.addresses.mongo_uri == f"mongodb://{hosts}/?replicaSet=rs0"
        assert lines[1] == f"Kafka 2: 127.0.0.1:{kafkas[1]}, process 7"
        assert len(lines) == 6
    with Backend(tmp_path / "single", plain_settings()) as backend:
        assert backend.addresses.mongo_uri == f"mongodb://127.0.0.1:{backend.ports.mongods[0]}/?directConnection=true"
        assert backend.member_addresses() == []
