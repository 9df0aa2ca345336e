"""A bar on a terminal, and a pace, for commands that take their time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """Show it while stderr is a terminal; yields what is to be called with how many more are done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("", total=total)
        yield lambda more: shown.advance(task, more)


def paced(things: Iterable[T], rate: float | None) -> Iterator[T]:
    """Pass on so many a second at the most; without a rate, at full speed."""
    began = time.monotonic()
    for index, thing in enumerate(things):
        if rate is not None and (wait := began + index / rate - time.monotonic()) > 0:
            time.sleep(wait)
        yield thing
