"""A worker's memory; what it saves is measured by `python -m benchmarks drain` and `footprint`."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from streamapp import memory

#: Fetches of some megabytes are freed, while something small that came after each stays. Prints MB that stay as well.
FREED = """
import psutil
from streamapp import memory
memory.keep_less()
process = psutil.Process()
del (first := [bytes(4_000_000)])[:]
before = process.memory_info().rss
held = [(bytearray(b"x") * 2_000_000, bytes(1_000)) for _ in range(50)]
held = [small for _, small in held]
print((process.memory_info().rss - before) // 1_000_000)
"""


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
    memory.collect_less()

    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 4_000 * 4


def test_cycles_are_collected_all_the_same() -> None:
    """Or an outage, whose exceptions hold their frames, would fill the memory."""
    memory.collect_less()
    gone = weakref.ref(Node())

    for _ in range(gc.get_threshold()[0] * gc.get_threshold()[1] + 1):
        Node()

    assert gone() is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this is about glibc")
def test_what_large_blocks_took_is_given_back() -> None:
    """However many were freed before, and whatever small was taken meanwhile."""
    stays = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True).stdout

    assert int(stays) < 10


def test_a_libc_without_such_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As musl is."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())

    memory.keep_less()
