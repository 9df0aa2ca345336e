"""Cells of a rollup: counts of combinations of values, of which at most MAX_CELLS are kept.

A part of a cell is OTHER where the value is not known: the map of the dimension does not hold its key, or there were
too many cells. So an event that passes a filter is counted in a cell whose parts are selected or OTHER.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product

from streamapp.rollups.frequent import Counts
from streamapp.rollups.keys import CUBE, MAX_CELLS, OTHER, cell_of, keys_of

#: Events by the keys of a cell, one of each of CUBE.
Cells = Counter[tuple[str, ...]]


def of_keys(counts: Counts) -> Cells:
    """Cells by their keys; they are stored by the text of their keys."""
    return Counter({tuple(keys_of(cell)): n for cell, n in counts.items()})


def of_texts(cells: Cells) -> dict[str, int]:
    """Cells as they are stored."""
    return {cell_of(keys): n for keys, n in cells.items()}


def fold(cells: Iterable[tuple[tuple[str, ...], int]], replaced: Sequence[Collection[str]]) -> Cells:
    """Add up cells, with OTHER in place of the keys that are replaced in their dimension."""
    positions = [(at, keys) for at, keys in enumerate(replaced) if keys]
    folded: Cells = Counter()
    for cell, n in cells:
        for at, keys in positions:
            if cell[at] in keys:
                cell = (*cell[:at], OTHER, *cell[at + 1 :])  # noqa: PLW2901 - faster than a new name
        folded[cell] = folded.get(cell, 0) + n
    return folded


def limit(cells: Cells, maps: Sequence[Counts], weight: Callable[[str, str], int]) -> Cells:
    """Reduce the cells to MAX_CELLS.

    In the dimension with the most keys, the keys with the least weight become OTHER, as few as possible; then in the
    next one. So a filter by a dimension with few keys stays exact.

    Args:
        cells: events by cell.
        maps: events by key of each dimension.
        weight: the weight of a key, given the name of its dimension and the key.
    """
    for at in sorted(range(len(CUBE)), key=lambda position: -len(maps[position])):
        if len(cells) <= MAX_CELLS:
            break
        sizes = Counter(keys[at] for keys in cells)
        rest = len({keys[:at] + keys[at + 1 :] for keys in cells})
        folded = _lightest(sizes, MAX_CELLS - rest, lambda key, at=at: weight(CUBE[at], key))
        cells = fold(cells.items(), [folded if position == at else () for position in range(len(CUBE))])
    return cells


def possible(cells: Mapping[str, int], cell: str) -> int:
    """The number of events that may belong to a cell, and are counted in cells with OTHER."""
    choices = product(*((key, OTHER) for key in cell.split("|")))
    return sum(cells.get(other, 0) for other in {*map(cell_of, choices)} - {cell})


def _lightest(sizes: Mapping[str, int], room: int, weight: Callable[[str], int]) -> frozenset[str]:
    """The keys that must become OTHER so that the cells of the others have room."""
    ranked = iter(sorted(sizes.keys() - {OTHER}, key=lambda key: (-weight(key), key)))
    return frozenset(_beyond(ranked, sizes, room))


def _beyond(ranked: Iterator[str], sizes: Mapping[str, int], room: int) -> Iterator[str]:
    for key in ranked:
        room -= sizes[key]
        if room < 0:
            yield key
            yield from ranked
