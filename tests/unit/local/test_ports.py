"""Ports: the usual one if free, else another, never one twice."""

from __future__ import annotations

import socket

from streamapp.local import ports
from streamapp.local.ports import Ports


def listening() -> socket.socket:
    """Return a socket that listens on a port of the kernel's choice."""
    return socket.create_server((ports.HOST, 0))


def test_usual_port_is_chosen_where_it_is_free() -> None:
    """A free usual port is the one that everybody expects."""
    with listening() as taken:
        usual = taken.getsockname()[1]

    assert ports.choose(usual) == usual


def test_taken_port_is_left_to_its_owner() -> None:
    """Where the usual port is taken, another one is chosen."""
    with listening() as taken:
        usual = taken.getsockname()[1]

        assert ports.choose(usual) in ports.FREE


def test_no_port_is_chosen_twice() -> None:
    """A port that is promised to one server is not given to the next."""
    with listening() as taken:
        usual = taken.getsockname()[1]

    assert ports.choose(usual, but=[usual]) != usual


def test_notices_name_what_is_elsewhere() -> None:
    """Only a server that is not on its usual port is worth a word."""
    chosen = Ports(kafka=9092, registry=8081, mongod=20_000, kafka_controller=1, registry_management=2)

    assert chosen.notices() == ["port 27017 is taken; mongod is on port 20000"]
