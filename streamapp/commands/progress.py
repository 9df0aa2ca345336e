"""A bar on a terminal, and a pace, for commands that take their time."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

#: Things a second: one in a thousand seconds.
_LEAST_PACE = 0.001
#: To sleep for less would cost more than most of what is paced; what has become due meanwhile follows at once.
_LEAST_SLEEP_SECONDS = 0.005


def pace(text: str) -> float:
    """The things a second that an option gives; exit code 2 if it is no pace."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not _LEAST_PACE <= rate < math.inf:
        raise click.BadParameter(f"{text!r} is no number from {_LEAST_PACE} on. Example: 100")
    return rate


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """Show it while stderr is a terminal; yields what is to be called with how many more are done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("", total=total)
        yield lambda more: shown.advance(task, more)


def paced(things: Iterable[T], rate: float | None) -> Iterator[T]:
    """Pass on so many a second at the most, each when it is due or up to 5 ms later; without a rate, at full speed."""
    began = time.monotonic()
    for index, thing in enumerate(things):
        if rate is not None and (wait := began + index / rate - time.monotonic()) > 0:
            time.sleep(max(wait, _LEAST_SLEEP_SECONDS))
        yield thing
