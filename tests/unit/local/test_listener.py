"""Which process listens on a port, and which ports another start has reserved."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamapp import net
from streamapp.errors import BackendError
from streamapp.local import ports
from streamapp.local.listener import PortReservations, is_listener
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


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
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

        assert is_listener(process.pid, port)
        assert not is_listener(process.pid, port + 1)
        assert not is_listener(os.getpgid(0), port)
        process.communicate(b"\n")


def test_a_kernel_that_does_not_tell_is_believed(tmp_path: Path) -> None:
    """The answer of the server has to do."""
    assert is_listener(1, 9092, proc=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
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


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets")
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
