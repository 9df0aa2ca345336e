"""The classes of errors, by what the caller must do."""

from __future__ import annotations

from collections.abc import Iterator

from generators.markdown import escaped
from generators.markdown import table as markdown_table
from streamapp.errors import StreamappError


def table() -> str:
    """Render the tree of errors with what each means."""
    rows = [(f"{'&emsp;' * depth}`{each.__name__}`", _meaning(each)) for depth, each in _tree(StreamappError)]
    return markdown_table(["error", "meaning"], rows)


def _tree(error: type[StreamappError], depth: int = 0) -> Iterator[tuple[int, type[StreamappError]]]:
    yield depth, error
    for below in error.__subclasses__():
        if below.__module__ == StreamappError.__module__:
            yield from _tree(below, depth + 1)


def _meaning(error: type[StreamappError]) -> str:
    return escaped((error.__doc__ or "").strip().partition("\n")[0])
