"""A progress bar, and a rate limit, for commands that run for longer."""

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

#: Items per second: one item in a thousand seconds.
_MIN_RATE = 0.001
#: A shorter sleep would cost more CPU than most items do; items that become due during a sleep follow at once.
_MIN_SLEEP_SECONDS = 0.005


def pace(text: str) -> float:
    """Parse the items per second that an option gives; exit code 2 if it is not a positive number."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not _MIN_RATE <= rate < math.inf:
        raise click.BadParameter(f"{text!r} is not a number of at least {_MIN_RATE}. Example: 100")
    return rate


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal; yield the function to call with the number of further items done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("", total=total)
        yield lambda done: shown.advance(task, done)


def paced(items: Iterable[T], rate: float | None) -> Iterator[T]:
    """Yield at most `rate` items per second, each when it is due or up to 5 ms later; without a rate, at full speed."""
    began = time.monotonic()
    for index, item in enumerate(items):
        if rate is not None and (wait := began + index / rate - time.monotonic()) > 0:
            time.sleep(max(wait, _MIN_SLEEP_SECONDS))
        yield item
