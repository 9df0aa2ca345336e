"""Many short texts in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate


class PackedTexts:
    """Texts as one text and their ends in it: of texts of ten characters, a list takes five times the memory.

    Args:
        texts: copied; at most 2 GiB in UTF-8.
    """

    __slots__ = ("_ends", "_packed")

    def __init__(self, texts: Sequence[str]) -> None:
        packed = "".join(texts)
        if packed.isascii():
            self._packed, self._ends = packed, array("i", accumulate(map(len, texts)))
        else:  # one character outside Latin-1 would double or quadruple the memory of all others
            encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
            self._packed, self._ends = b"".join(encoded), array("i", accumulate(map(len, encoded)))

    @property
    def size(self) -> int:
        """The bytes of the texts."""
        return len(self._packed)

    def __iter__(self) -> Iterator[str]:
        packed, begin = self._packed, 0
        for end in self._ends:
            text = packed[begin:end]
            yield text if isinstance(text, str) else text.decode("utf-8", "surrogatepass")
            begin = end
