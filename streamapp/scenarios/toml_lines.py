"""Find the line of a TOML file that a key is on; Python's parser does not keep it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: Keys and positions from the root on.
Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_QUOTES = "\"' \t"


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Return the number of the line with the longest part of a path, from 1 on; None if no line has any of it."""
    found, longest = None, 0
    for number, place in _places(text):
        common = _common(place, path)
        if common > longest and common == len(place):
            found, longest = number, common
    return found


def _places(text: str) -> Iterator[tuple[int, Path]]:
    """The path of each header and key."""
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _resolved(_parts(header[2]), counts, is_array=header[1] == "[[")
            yield number, table
        elif key := _KEY.match(line):
            yield number, (*table, *_parts(key[1]))


def _parts(name: str) -> Path:
    return tuple(part.strip(_QUOTES) for part in name.split("."))


def _resolved(parts: Path, counts: dict[Path, int], *, is_array: bool) -> Path:
    """The path of a header: a position behind each part that is an array of tables."""
    path: Path = ()
    for index, part in enumerate(parts):
        path = (*path, part)
        if is_array and index == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _common(place: Path, path: Sequence[str | int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(place, path, strict=False)) if a != b), min(len(place), len(path)))
