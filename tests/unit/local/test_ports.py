"""Ports: the usual one if it is free, otherwise another; none is chosen twice."""

from __future__ import annotations

import socket

import pytest

from streamapp import net
from streamapp.local.cluster_size import ClusterSize
from streamapp.local.ports import Ports


def listening() -> socket.socket:
    """Return a socket that listens on a port of the kernel's choice."""
    return socket.create_server((net.HOST, 0))


def test_usual_port_is_chosen_where_it_is_free() -> None:
    """Users expect the usual port."""
    with listening() as taken:
        usual = taken.getsockname()[1]

    assert net.choose_port(usual) == usual


def test_another_port_is_chosen_if_the_usual_one_is_in_use() -> None:
    """A random free port."""
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
    """So is 0.0.0.0, which means all of them."""
    assert net.is_here(host) is expected


def test_no_port_is_chosen_twice() -> None:
    """A port that was chosen for one server is not chosen for the next one."""
    with listening() as taken:
        usual = taken.getsockname()[1]

    assert net.choose_port(usual, but=[usual]) != usual


def test_a_notice_names_each_server_that_is_not_on_its_usual_port() -> None:
    """Further members of a cluster have no usual port, and so no notice."""
    chosen = Ports(
        kafkas=(9092, 20_001), registry=8081, mongods=(20_000,), kafka_controllers=(1, 2), registry_management=3
    )

    assert chosen.notices() == ["MongoDB listens on port 20000 because port 27017 is in use."]


def test_each_member_has_ports_of_its_own() -> None:
    """One for each member, and none is chosen twice."""
    chosen = Ports.choose(usual=False, size=ClusterSize(brokers=3, mongods=5))
    taken = [*chosen.kafkas, *chosen.kafka_controllers, *chosen.mongods, chosen.registry, chosen.registry_management]

    assert (len(chosen.kafkas), len(chosen.kafka_controllers), len(chosen.mongods)) == (3, 3, 5)
    assert len({*taken}) == len(taken)
