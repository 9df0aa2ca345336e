"""Which process listens on a port, and which ports another start has reserved."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from streamapp import net
from streamapp.errors import BackendError
from streamapp.local import ports
from streamapp.local.listener import PortReservations, listens
from streamapp.local.ports import Ports
from streamapp.local.process import Server

LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print('up', flush=True); input()"
)
DUAL_STACK = (
    "import socket, sys; s = socket.create_server(('::', int(sys.argv[1])), family=socket.AF_INET6,"
    " dualstack_ipv6=True); print('up', flush=True); input()"
)
WRAPPED = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[2:], sys.argv[1]])"


@pytest.mark.parametrize("code", [[LISTEN], [DUAL_STACK], [WRAPPED, LISTEN]], ids=["IPv4", "IPv6", "a wrapper script"])
def test_the_listener_of_a_port_is_known(code: Sequence[str]) -> None:
    """The process itself or a child of it, and no other process."""
    port = net.choose_port()
    command = [sys.executable, "-c", code[0], str(port), *code[1:]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()

        assert listens(process.pid, port)
        assert not listens(process.pid, port + 1)
        assert not listens(os.getpgid(0), port)
        process.communicate(b"\n")


@pytest.mark.parametrize("refusal", [psutil.AccessDenied(), FileNotFoundError("/proc/net/tcp")])
def test_a_system_that_does_not_tell_is_believed(refusal: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the server has to do."""

    def refuse(*_: object) -> NoReturn:
        raise refusal

    monkeypatch.setattr(psutil.Process, "net_connections", refuse)

    assert listens(os.getpgid(0), 9092)


def test_a_group_that_has_ended_does_not_listen() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as process:
        pass

    assert not listens(process.pid, 9092)


def test_without_psutil_the_error_names_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)

    with pytest.raises(BackendError, match=r"psutil.*pip install '\.\[local\]'"):
        listens(os.getpgid(0), 9092)


def test_the_answer_of_another_program_is_not_the_server_s(tmp_path: Path) -> None:
    """A server whose port another backend has got is not ready, though the port answers."""
    with socket.create_server((net.HOST, 0)) as other:
        port = other.getsockname()[1]
        log = tmp_path / "log"
        server = Server(name="Probe", command=["sleep", "60"], log=log, port=port, answers=lambda: net.is_open(port))
        server.launch()
        try:
            with pytest.raises(BackendError, match=r"did not answer within 0\.2 s"):
                server.wait_until_ready(0.2)
        finally:
            server.kill()


def test_two_starts_at_once_choose_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the first one listens; a port can be chosen again after the end of the first start."""
    usual = net.choose_port()
    monkeypatch.setattr(ports, "USUAL", {"mongod": usual})

    with PortReservations() as one:
        first = Ports.choose(usual=True, reserve=one.reserve)
        with PortReservations() as two:
            second = Ports.choose(usual=True, reserve=two.reserve)
    with PortReservations() as three:
        third = Ports.choose(usual=True, reserve=three.reserve)

    assert (usual,) == first.mongods == third.mongods
    assert (usual,) != second.mongods


RESERVE = """
import sys
from streamapp.local.listener import PortReservations
with PortReservations() as reservations:
    print(reservations.reserve(int(sys.argv[1])), flush=True)
    input()
"""


def test_a_reservation_ends_with_its_process() -> None:
    """Also after a kill -9; until then no other process can reserve the port, and a server can listen on it."""
    port = net.choose_port()
    with subprocess.Popen(
        [sys.executable, "-c", RESERVE, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        with PortReservations() as meanwhile, socket.create_server((net.HOST, port)):
            assert not meanwhile.reserve(port)
        process.kill()
        process.wait()

    with PortReservations() as afterwards:
        assert afterwards.reserve(port)
