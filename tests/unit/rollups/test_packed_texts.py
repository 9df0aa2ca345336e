"""Packed texts are the texts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from streamapp.rollups.packed_texts import PackedTexts


@given(st.lists(st.text(st.characters())))
def test_packed_texts_are_the_texts(texts: Sequence[str]) -> None:
    """Also empty ones, and lone surrogates."""
    packed = PackedTexts(texts)

    assert texts == [*packed]
    assert len(texts) == len(packed)
    assert "".join(texts) == packed.text


def test_packed_texts_take_a_third_of_the_memory() -> None:
    """Of a list of as many texts."""
    tracemalloc.start()
    try:
        texts = [f"user-{number}" for number in range(10_000)]
        before, _ = tracemalloc.get_traced_memory()
        packed = PackedTexts(texts)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(packed) == 10_000
    assert after - before < before / 3
