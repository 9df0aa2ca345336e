"""`streamapp dlq replay`: dead letters to their original topic again, each once; what is called off goes on later."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping

import click

from streamapp.commands.dlq_choice import browser, choice_options, read
from streamapp.commands.options import is_json, json_option, load_settings, report, told
from streamapp.commands.progress import pace, paced, progress
from streamapp.dlq import letter_text
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import (
    OTHER_TOPIC,
    TOO_MANY_REPLAYS,
    ClassifiedDeadLetter,
    DeadLetterFilter,
    ReplayPlan,
    State,
    plan_replay,
)
from streamapp.dlq.replay import Replay, ReplayItem, ReplayOutcome
from streamapp.errors import INTERRUPTED, BrokerUnavailable, SettingsError
from streamapp.kafka.admin import KafkaAdmin
from streamapp.settings import Settings

#: Letters that are told one by one.
_TOLD = 20


@click.command("replay")
@choice_options
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many records.  [default: all]")
@click.option(
    "--max-replays",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Leave out what has been replayed so often and failed again; a larger number tries once more.",
)
@click.option("--rate", type=pace, help="Records a second; the default is full speed.")
@click.option("--dry-run", is_flag=True, help="Say what would be replayed, and write nothing.")
@json_option
@told
def command(  # noqa: PLR0913 - its options
    *, choice: DeadLetterFilter, limit: int, max_replays: int, rate: float | None, dry_run: bool, as_json: bool
) -> None:
    """Send dead letters to their original topic again, where a worker stores them under their original _id.

    What is stored, superseded by a later failure, or still waits there for the worker, is left out. So a replay that
    was called off or killed goes on where it was, and repeating one stores nothing twice.
    """
    settings, began = load_settings(), time.monotonic()
    with browser(settings) as box:
        partitions = box.originals.partitions()
        if not partitions:
            raise SettingsError(f"there is no topic {settings.topic} (STREAMAPP_TOPIC) to replay to.")
        _, chosen = read(box, choice, run=True)
        planned = plan_replay(chosen, topic=settings.topic, max_replays=max_replays, limit=limit)
        if dry_run:
            _tell_plan(planned, settings, as_json=as_json)
            return
        outcome = _replayed(box, planned, settings, partitions=len(partitions), rate=rate)
    _tell(outcome, planned, seconds=time.monotonic() - began, as_json=as_json)
    _end(outcome, planned, settings)


def _replayed(
    box: DeadLetterBrowser, planned: ReplayPlan, settings: Settings, *, partitions: int, rate: float | None
) -> ReplayOutcome:
    if not planned.letters:
        return ReplayOutcome()
    servers = settings.kafka_bootstrap_servers
    limit = asyncio.run(KafkaAdmin(servers).max_message_bytes(settings.topic))
    going = Replay(
        bootstrap_servers=servers,
        letters=box.letters,
        topic=settings.topic,
        partitions=partitions,
        max_message_bytes=limit,
    )

    def shown(fetched: Iterator[ReplayItem]) -> Iterator[ReplayItem]:
        with progress("replaying", len(planned.letters)) as advance:
            for one in paced(fetched, rate):
                yield one
                advance(1)

    return going.run(planned.letters, paced=shown)


def _tell_plan(planned: ReplayPlan, settings: Settings, *, as_json: bool) -> None:
    if is_json(as_json=as_json):
        letters = [letter_text.letter_json(letter) for letter in planned.letters]
        click.echo(json.dumps({"would_replay": len(letters), "skipped": {**planned.skipped}, "letters": letters}))
        return
    report({"would replay": len(planned.letters), **_told_skipped(planned)}, as_json=False)
    first = [ClassifiedDeadLetter(letter=letter, state=State.OPEN) for letter in planned.letters[:_TOLD]]
    if first:
        click.echo()
        click.echo("\n".join(letter_text.letter_lines(first)))
    if len(planned.letters) > _TOLD:
        click.echo(f"… and {len(planned.letters) - _TOLD} more", err=True)
    click.echo("nothing was written", err=True)
    _explain(planned, settings)


def _tell(outcome: ReplayOutcome, planned: ReplayPlan, *, seconds: float, as_json: bool) -> None:
    left = len(planned.letters) - outcome.replayed - len(outcome.refused)
    facts = {"replayed": outcome.replayed, "refused": len(outcome.refused), "left": left, "seconds": round(seconds, 3)}
    if is_json(as_json=as_json):
        click.echo(json.dumps({**facts, "moved": outcome.moved, "skipped": {**planned.skipped}}))
    else:
        report({**facts, **_told_skipped(planned)}, as_json=False)


def _told_skipped(planned: ReplayPlan) -> Mapping[str, int]:
    return {f"skipped, {why}": n for why, n in sorted(planned.skipped.items())}


def _explain(planned: ReplayPlan, settings: Settings) -> None:
    if planned.skipped.get(OTHER_TOPIC):
        click.echo(
            f"Some are of another topic than {settings.topic} (STREAMAPP_TOPIC), and go nowhere: `streamapp dlq list`"
            " names it.",
            err=True,
        )
    if planned.skipped.get(TOO_MANY_REPLAYS):
        click.echo("Some have failed again after every replay; a larger --max-replays tries once more.", err=True)
    if planned.skipped.get(State.IN_TOPIC):
        click.echo(
            f"Some are in the topic already, for a worker of the group {settings.app_id} (STREAMAPP_APP_ID) to read.",
            err=True,
        )


def _end(outcome: ReplayOutcome, planned: ReplayPlan, settings: Settings) -> None:
    """Say what is to be known or done, and exit."""
    _explain(planned, settings)
    for letter, why in outcome.refused[:_TOLD]:
        click.echo(f"{letter.partition}:{letter.offset} cannot be replayed: {why}", err=True)
    if len(outcome.refused) > _TOLD:
        click.echo(f"… and {len(outcome.refused) - _TOLD} more", err=True)
    if outcome.moved:
        click.echo(f"{outcome.moved} went to another partition: the original one is no more.", err=True)
    if outcome.interrupted:
        click.echo("Called off; the same command goes on from here.", err=True)
        sys.exit(INTERRUPTED)
    if outcome.unreachable:
        raise BrokerUnavailable(f"{outcome.unreachable}. Not all is replayed; the same command goes on from here.")
    if outcome.replayed:
        click.echo(
            "A worker stores them (`streamapp worker`, if none runs); `streamapp dlq list` shows what fails again.",
            err=True,
        )
    if outcome.refused:
        sys.exit(1)
