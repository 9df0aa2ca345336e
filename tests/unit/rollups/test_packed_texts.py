"""Packed texts are the texts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.rollups.packed_texts import PackedTexts


@given(st.lists(st.text(st.characters())))
def test_packed_texts_are_the_texts(texts: Sequence[str]) -> None:
    """Also empty ones, and lone surrogates."""
    packed = PackedTexts(texts)

    assert texts == [*packed]
    assert packed.size == len("".join(texts).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("other", ["", "\N{BEER MUG}"])
def test_packed_texts_take_little_memory(other: str) -> None:
    """Also if one of them has a wide character."""
    texts = [*(f"user-{number:05}" for number in range(10_000)), other]
    tracemalloc.start()
    try:
        packed = PackedTexts(texts)
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert packed.size >= 100_000
    assert memory < 150_000
