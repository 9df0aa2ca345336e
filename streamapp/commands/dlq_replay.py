"""`streamapp dlq replay`: send dead letters to their original topic again, each once; the next run continues."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping

import click

from streamapp.commands.dlq_filter import filter_options, open_browser, read_letters
from streamapp.commands.options import handle_errors, is_json, json_option, load_settings, report
from streamapp.commands.progress import pace, paced, progress
from streamapp.connections.kafka import KafkaConnection
from streamapp.dlq import letter_text
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import (
    OTHER_TOPIC,
    TOO_MANY_REPLAYS,
    UNSIGNED,
    ClassifiedDeadLetter,
    DeadLetterFilter,
    ReplayPlan,
    State,
    plan_replay,
)
from streamapp.dlq.replay import Replay, ReplayItem, ReplayOutcome
from streamapp.errors import INTERRUPTED, BrokerUnavailable, SettingsError, Transient
from streamapp.kafka.admin import KafkaAdmin
from streamapp.settings import Settings

#: Dead letters that are listed one by one.
_MAX_LISTED = 20


@click.command("replay")
@filter_options
@click.option("--limit", metavar="N", type=click.IntRange(min=0), default=0, help="Replay at most N.  [default: all]")
@click.option(
    "--max-replays",
    metavar="N",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Skip records that have been replayed N times and failed again; a larger number tries them again.",
)
@click.option("--rate", metavar="N", type=pace, help="Records per second.  [default: full speed]")
@click.option("--dry-run", is_flag=True, help="Print what would be replayed; write nothing.")
@json_option
@handle_errors
def command(  # noqa: PLR0913 - its options
    *, letter_filter: DeadLetterFilter, limit: int, max_replays: int, rate: float | None, dry_run: bool, as_json: bool
) -> None:
    """Send dead letters to their original topic again.

    A worker then stores them under their original _id.

    Skips records that are stored, superseded by a later failure, or not read by the worker yet. So a replay that was
    interrupted or killed continues when it is run again, and repeating a replay stores nothing twice.
    """
    settings, began = load_settings(), time.monotonic()
    with open_browser(settings) as browser:
        partitions = browser.originals.partitions()
        if not partitions:
            raise SettingsError(f"The topic {settings.topic} (STREAMAPP_TOPIC) does not exist.")
        _, letters = read_letters(browser, letter_filter, needs_store=True)
        planned = plan_replay(letters, topic=settings.topic, max_replays=max_replays, limit=limit)
        if dry_run:
            _report_plan(planned, settings, as_json=as_json)
            return
        outcome = _replay(browser, planned, settings, partitions=len(partitions), rate=rate)
    _report(outcome, planned, seconds=time.monotonic() - began, as_json=as_json)
    _end(outcome, planned, settings)


def _replay(
    browser: DeadLetterBrowser, planned: ReplayPlan, settings: Settings, *, partitions: int, rate: float | None
) -> ReplayOutcome:
    if not planned.letters:
        return ReplayOutcome()
    kafka = KafkaConnection.of(settings)
    limit = asyncio.run(KafkaAdmin(kafka).max_message_bytes(settings.topic))
    replay = Replay(
        connection=kafka,
        letters=browser.letters,
        topic=settings.topic,
        partitions=partitions,
        max_message_bytes=limit,
        restore=lambda _, record: browser.restored(record),
    )

    def shown(fetched: Iterator[ReplayItem]) -> Iterator[ReplayItem]:
        with progress("replaying", len(planned.letters)) as advance:
            for item in paced(fetched, rate):
                yield item
                advance(1)

    return replay.run(planned.letters, paced=shown)


def _report_plan(planned: ReplayPlan, settings: Settings, *, as_json: bool) -> None:
    if is_json(as_json=as_json):
        letters = [letter_text.letter_json(letter) for letter in planned.letters]
        click.echo(json.dumps({"would_replay": len(letters), "skipped": {**planned.skipped}, "letters": letters}))
        return
    report({"would replay": len(planned.letters), **_skipped_facts(planned)}, as_json=False)
    first = [ClassifiedDeadLetter(letter=letter, state=State.OPEN) for letter in planned.letters[:_MAX_LISTED]]
    if first:
        click.echo()
        click.echo("\n".join(letter_text.letter_lines(first)))
    if len(planned.letters) > _MAX_LISTED:
        click.echo(f"… and {len(planned.letters) - _MAX_LISTED} more", err=True)
    click.echo("This was a dry run: nothing was written.", err=True)
    _explain(planned, settings)


def _report(outcome: ReplayOutcome, planned: ReplayPlan, *, seconds: float, as_json: bool) -> None:
    left = len(planned.letters) - outcome.replayed - len(outcome.refused)
    facts = {"replayed": outcome.replayed, "refused": len(outcome.refused), "left": left, "seconds": round(seconds, 3)}
    if is_json(as_json=as_json):
        click.echo(json.dumps({**facts, "moved": outcome.moved, "skipped": {**planned.skipped}}))
    else:
        report({**facts, **_skipped_facts(planned)}, as_json=False)


def _skipped_facts(planned: ReplayPlan) -> Mapping[str, int]:
    return {f"skipped, {why}": n for why, n in sorted(planned.skipped.items())}


def _explain(planned: ReplayPlan, settings: Settings) -> None:
    if planned.skipped.get(OTHER_TOPIC):
        click.echo(
            f"Some dead letters come from another topic than {settings.topic} (STREAMAPP_TOPIC) and are not replayed;"
            " `streamapp dlq list` shows which.",
            err=True,
        )
    if planned.skipped.get(UNSIGNED):
        click.echo(
            "Some dead letters have no signature of the key in STREAMAPP_DLQ_SIGNING_KEY: they were written before the"
            " key was set, or not by a worker. A worker with this key would store them as new events.",
            err=True,
        )
    if planned.skipped.get(TOO_MANY_REPLAYS):
        click.echo("Some records failed again after every replay; a larger --max-replays tries them again.", err=True)
    if planned.skipped.get(State.IN_TOPIC):
        click.echo(
            f"Some events are in the topic already: a worker of the group {settings.app_id} (STREAMAPP_APP_ID) has not"
            " read them yet.",
            err=True,
        )


def _end(outcome: ReplayOutcome, planned: ReplayPlan, settings: Settings) -> None:
    """Print notes and errors about the outcome; exit if something went wrong."""
    _explain(planned, settings)
    for letter, why in outcome.refused[:_MAX_LISTED]:
        click.echo(f"{letter.partition}:{letter.offset} cannot be replayed: {why}", err=True)
    if len(outcome.refused) > _MAX_LISTED:
        click.echo(f"… and {len(outcome.refused) - _MAX_LISTED} more", err=True)
    if outcome.moved:
        click.echo(f"{outcome.moved} went to another partition: the original one does not exist any more.", err=True)
    if outcome.interrupted:
        click.echo("Interrupted. Run the same command again to continue.", err=True)
        sys.exit(INTERRUPTED)
    if outcome.unreachable:
        message = f"{outcome.unreachable}. Run the same command again to continue."
        is_running = not isinstance(outcome.unreachable, Transient) or outcome.unreachable.is_running
        raise BrokerUnavailable(message, is_running=is_running)
    if outcome.replayed:
        click.echo(
            "A worker stores them (`streamapp worker` starts one); `streamapp dlq list` shows which fail again.",
            err=True,
        )
    if outcome.refused:
        sys.exit(1)
