"""The garbage collector of a worker; how much it saves is measured by `python -m benchmarks drain`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from streamapp import garbage


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_documents_of_a_slice_are_not_looked_at() -> None:
    """A slice of 4,000 makes fewer objects than are looked at together; what is there already is left out."""
    garbage.look_less()

    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 4_000 * 4


def test_cycles_are_collected_all_the_same() -> None:
    """Or an outage, whose exceptions hold their frames, would fill the memory."""
    garbage.look_less()
    gone = weakref.ref(Node())

    for _ in range(gc.get_threshold()[0] * gc.get_threshold()[1] + 1):
        Node()

    assert gone() is None
