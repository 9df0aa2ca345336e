"""Shared by the commands of `streamapp dlq`: options that filter dead letters, and reading them with their state."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from streamapp.commands.options import instant
from streamapp.commands.progress import progress
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import ClassifiedDeadLetter, DeadLetterFilter, DeadLetterIndex, Letter, classify
from streamapp.errors import StoreUnavailable
from streamapp.model.record import Reason
from streamapp.settings import Settings


def filter_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that filter dead letters to a command, which gets them as `letter_filter`."""

    @click.option(
        "--reason",
        "reasons",
        type=click.Choice([reason.value for reason in Reason]),
        multiple=True,
        help="Only this reason; can be repeated.  [default: all]",
    )
    @click.option("--partition", type=click.IntRange(min=0), help="Only this partition of the original topic.")
    @click.option("--since", metavar="TIME", help="Only records that failed at this time or later, ISO 8601.")
    @click.option("--until", metavar="TIME", help="Only records that failed before this time, ISO 8601.")
    @wraps(function)
    def filtering(
        *, reasons: Sequence[str], partition: int | None, since: str | None, until: str | None, **others: Any
    ) -> None:
        letter_filter = DeadLetterFilter(
            reasons=reasons,
            partition=partition,
            since=instant(since, option="--since"),
            until=instant(until, option="--until"),
        )
        function(letter_filter=letter_filter, **others)

    return filtering


@contextmanager
def open_browser(settings: Settings) -> Generator[DeadLetterBrowser]:
    """Open a browser of the dead-letter topic that shows progress bars; close it at the end."""
    browser = DeadLetterBrowser(settings, progress=progress)
    try:
        yield browser
    finally:
        browser.close()


def read_letters(
    browser: DeadLetterBrowser, letter_filter: DeadLetterFilter, *, needs_store: bool
) -> tuple[DeadLetterIndex, Sequence[ClassifiedDeadLetter]]:
    """Return the index of all letters, and the filtered letters with their state.

    Raises:
        StoreUnavailable: MongoDB does not answer and `needs_store` is true; otherwise the states are unknown.
    """
    # Before the dead letters are read: an event that fails again while they are read is at an offset that is not
    # committed yet, and so "in topic". Read afterwards, it would be "open" by its old letter and be replayed again.
    committed = browser.committed()
    index = browser.read()
    for batch in index.unreadable:
        click.echo(f"A batch cannot be read, and is left out: {browser.letters.topic}, {batch.place}", err=True)
    letters = [letter for letter in index.letters if letter_filter.matches(letter)]
    return index, _classify(browser, letters, index, committed, needs_store=needs_store)


def _classify(
    browser: DeadLetterBrowser,
    letters: Sequence[Letter],
    index: DeadLetterIndex,
    committed: Mapping[int, int],
    *,
    needs_store: bool,
) -> Sequence[ClassifiedDeadLetter]:
    last = [letter for letter in letters if index.is_latest(letter)]
    try:
        stored = browser.stored_ids(last)
    except StoreUnavailable as exc:
        if needs_store:
            raise
        click.echo(f"The states are unknown, because MongoDB cannot be asked which events are stored: {exc}", err=True)
        stored = None
    unread = browser.unread_ids([letter for letter in last if letter.event_id not in (stored or ())], committed)
    return classify(letters, index, stored_ids=stored, unread_ids=unread)
