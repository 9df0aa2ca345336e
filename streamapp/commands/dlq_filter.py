"""What the commands of `streamapp dlq` have in common: which dead letters are meant, and what has become of them."""

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


def choice_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose letters, and the choice."""

    @click.option(
        "--reason",
        "reasons",
        type=click.Choice([reason.value for reason in Reason]),
        multiple=True,
        help="Only this reason; may be given again.  [default: all]",
    )
    @click.option("--partition", type=click.IntRange(min=0), help="Only of this partition of the original topic.")
    @click.option("--since", help="Only what failed at this time or later, ISO 8601.")
    @click.option("--until", help="Only what failed before this time, ISO 8601.")
    @wraps(function)
    def choosing(
        *, reasons: Sequence[str], partition: int | None, since: str | None, until: str | None, **others: Any
    ) -> None:
        choice = DeadLetterFilter(
            reasons=reasons,
            partition=partition,
            since=instant(since, option="--since"),
            until=instant(until, option="--until"),
        )
        function(choice=choice, **others)

    return choosing


@contextmanager
def browser(settings: Settings) -> Generator[DeadLetterBrowser]:
    """Open it, with a bar while it reads."""
    box = DeadLetterBrowser(settings, progress=progress)
    try:
        yield box
    finally:
        box.close()


def read(
    box: DeadLetterBrowser, choice: DeadLetterFilter, *, run: bool
) -> tuple[DeadLetterIndex, Sequence[ClassifiedDeadLetter]]:
    """All letters, and what has become of the chosen ones; without MongoDB that is unknown, unless insisted on."""
    # First: what fails again while we look is behind what was committed, and so "in topic". Asked last, it would be
    # "open" by its old letter, and be replayed beside the new one.
    committed = box.committed()
    index = box.read()
    return index, _judge(box, [letter for letter in index.letters if choice.matches(letter)], index, committed, run=run)


def _judge(
    box: DeadLetterBrowser,
    letters: Sequence[Letter],
    index: DeadLetterIndex,
    committed: Mapping[int, int],
    *,
    run: bool,
) -> Sequence[ClassifiedDeadLetter]:
    last = [letter for letter in letters if index.is_latest(letter)]
    try:
        stored = box.stored_ids(last)
    except StoreUnavailable as exc:
        if run:
            raise
        click.echo(f"Which events are stored is not known: {exc}", err=True)
        stored = None
    in_topic = box.unread_ids([letter for letter in last if letter.event_id not in (stored or ())], committed)
    return classify(letters, index, stored_ids=stored, unread_ids=in_topic)
