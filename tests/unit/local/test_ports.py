"""Ports: the usual one if free, else another, never one twice."""

from __future__ import annotations

import socket

import pytest

from streamapp import net
from streamapp.local.cluster_size import Size
from streamapp.local.ports import Ports


def listening() -> socket.socket:
    """Return a socket that listens on a port of the kernel's choice."""
    return socket.create_server((net.HOST, 0))


def test_usual_port_is_chosen_where_it_is_free() -> None:
    """A free usual port is the one that everybody expects."""
    with listening() as taken:
        usual = taken.getsockname()[1]

    assert net.choose_port(usual) == usual


def test_taken_port_is_left_to_its_owner() -> None:
    """Where the usual port is taken, another one is chosen."""
    with listening() as taken:
        usual = taken.getsockname()[1]

        assert net.choose_port(usual) in net.CANDIDATES


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("0.0.0.0", True),
        ("localhost", True),
        ("256.1.1.1", False),
        ("192.0.2.1", False),
        ("a b", False),
    ],
)
def test_addresses_of_this_machine_are_known(host: str, expected: bool) -> None:
    """Also the one that stands for all of them."""
    assert net.is_here(host) is expected


def test_no_port_is_chosen_twice() -> None:
    """A port that is promised to one server is not given to the next."""
    with listening() as taken:
        usual = taken.getsockname()[1]

    assert net.choose_port(usual, but=[usual]) != usual


def test_notices_name_what_is_elsewhere() -> None:
    """Only a server that is not on its usual port is worth a word; the other members of a cluster never are."""
    chosen = Ports(
        kafkas=(9092, 20_001), registry=8081, mongods=(20_000,), kafka_controllers=(1, 2), registry_management=3
    )

    assert chosen.notices() == ["port 27017 is taken; mongod is on port 20000"]


def test_each_member_has_ports_of_its_own() -> None:
    """As many as there are members, and none twice."""
    chosen = Ports.choose(usual=False, size=Size(brokers=3, mongods=5))
    taken = [*chosen.kafkas, *chosen.kafka_controllers, *chosen.mongods, chosen.registry, chosen.registry_management]

    assert (len(chosen.kafkas), len(chosen.kafka_controllers), len(chosen.mongods)) == (3, 3, 5)
    assert len({*taken}) == len(taken)
