"""`streamapp dlq list`, `show` and `replay`: look at the dead letters, and bring them back once the cause is mended."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

import click

from streamapp.commands import dlq_replay
from streamapp.commands.dlq_choice import browser, choice_options, read
from streamapp.commands.options import is_json, json_option, load_settings, told
from streamapp.dlq import letter_text
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import ClassifiedDeadLetter, DeadLetterFilter, histogram
from streamapp.model.record import TopicRecord
from streamapp.settings import Settings

#: Bytes of a value that are shown.
_SHOWN_BYTES = 1024
#: Foreign records that are named one by one.
_TOLD = 20


@click.group("dlq")
def command() -> None:
    """Look at the dead letters, and replay them once the cause is mended."""


@click.command("list")
@choice_options
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Letters shown, the newest; 0: all."
)
@json_option
@told
def list_letters(*, choice: DeadLetterFilter, limit: int, as_json: bool) -> None:
    """Count the dead letters by reason, and show them, the newest first."""
    settings = load_settings()
    with browser(settings) as box:
        is_there = bool(box.letters.partitions())
        index, chosen = read(box, choice, run=False)
    newest = sorted(chosen, key=lambda one: (one.letter.failed_at, one.letter.offset), reverse=True)
    shown = newest[: limit or None]
    foreign = index.unrecognized if choice == DeadLetterFilter() else []
    if is_json(as_json=as_json):
        _print_json(settings, chosen, shown, foreign)
    else:
        _print_lines(chosen, shown, foreign)
        if not chosen:
            _tell_none(settings, choice, is_there=is_there)


def _print_json(
    settings: Settings,
    chosen: Sequence[ClassifiedDeadLetter],
    shown: Sequence[ClassifiedDeadLetter],
    foreign: Sequence[tuple[int, int]],
) -> None:
    facts = {
        "topic": settings.dead_letter_topic,
        "letters": len(chosen),
        "reasons": [letter_text.summary_json(summary) for summary in histogram(chosen)],
        "shown": [{**letter_text.letter_json(one.letter), "state": one.state} for one in shown],
        "foreign": [{"partition": partition, "offset": offset} for partition, offset in foreign],
    }
    click.echo(json.dumps(facts))


def _tell_none(settings: Settings, choice: DeadLetterFilter, *, is_there: bool) -> None:
    topic = settings.dead_letter_topic
    if not is_there:
        click.echo(f"there is no topic {topic}, and so no dead letter", err=True)
    else:
        click.echo(f"no {'' if choice == DeadLetterFilter() else 'such '}dead letters in {topic}", err=True)


def _print_lines(
    chosen: Sequence[ClassifiedDeadLetter], shown: Sequence[ClassifiedDeadLetter], foreign: Sequence[tuple[int, int]]
) -> None:
    if chosen:
        click.echo("\n".join(letter_text.reason_lines(histogram(chosen))))
        click.echo()
        click.echo("\n".join(letter_text.letter_lines(shown)))
    if len(shown) < len(chosen):
        click.echo(f"… and {len(chosen) - len(shown)} older ones; --limit shows more", err=True)
    if foreign:
        places = ", ".join(f"{partition}:{offset}" for partition, offset in foreign[:_TOLD])
        more = f" and {len(foreign) - _TOLD} more" if len(foreign) > _TOLD else ""
        click.echo(f"{len(foreign)} foreign, with other headers than ours: {places}{more}", err=True)


@click.command()
@click.argument("place", metavar="PARTITION:OFFSET", required=False)
@click.option("--origin", help="The last dead letter of what stood there: topic-partition-offset.")
@click.option("--raw", is_flag=True, help="Write the original bytes, and nothing else, to stdout.")
@json_option
@told
def show(*, place: str | None, origin: str | None, raw: bool, as_json: bool) -> None:
    """Show the dead letter that lies at PARTITION:OFFSET of the dead-letter topic: headers, key and value."""
    if (place is None) == (origin is None):
        raise click.UsageError("give either PARTITION:OFFSET or --origin.")
    if raw and is_json(as_json=as_json):
        raise click.UsageError("--raw or --json, not both.")
    settings = load_settings()
    with browser(settings) as box:
        if not box.letters.partitions():
            raise click.ClickException(f"there is no topic {box.letters.topic}, and so no dead letter.")
        partition, offset = _place(place) if place else _place_of_origin(box, origin or "")
        record = box.record(partition, offset)
    if record is None:
        raise click.ClickException(f"nothing lies at {partition}:{offset} of {settings.dead_letter_topic}.")
    if raw:
        _write(record)
    elif is_json(as_json=as_json):
        click.echo(json.dumps(letter_text.record_json(record)))
    else:
        click.echo("\n".join(letter_text.record_lines(record, max_bytes=_SHOWN_BYTES)))


def _place(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)
    if not found:
        raise click.BadParameter(f"{text!r} is no PARTITION:OFFSET. Example: 0:24", param_hint="PARTITION:OFFSET")
    return int(found[1]), int(found[2])


def _place_of_origin(box: DeadLetterBrowser, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(.+)-(\d{1,9})-(\d{1,18})", text)
    if not found:
        raise click.BadParameter(
            f"{text!r} is no topic-partition-offset. Example: user_events-2-118", param_hint="--origin"
        )
    letter = box.read().latest_of(found[1], int(found[2]), int(found[3]))
    if letter is None:
        raise click.ClickException(f"{box.letters.topic} has no dead letter of {text}.")
    return letter.partition, letter.offset


def _write(record: TopicRecord) -> None:
    if record.value is None:
        click.echo("its value is null: there are no bytes", err=True)
    sys.stdout.buffer.write(record.value or b"")
    sys.stdout.buffer.flush()


for each in (list_letters, show, dlq_replay.command):
    command.add_command(each)
