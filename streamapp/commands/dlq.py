"""`streamapp dlq list`, `show` and `replay`: list and show dead letters, and replay them once the cause is fixed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

import click

from streamapp.commands import dlq_replay
from streamapp.commands.dlq_filter import filter_options, open_browser, read_letters
from streamapp.commands.options import handle_errors, is_json, json_option, load_settings
from streamapp.dlq import letter_text
from streamapp.dlq.browser import DeadLetterBrowser
from streamapp.dlq.index import ClassifiedDeadLetter, DeadLetterFilter, histogram
from streamapp.dlq.originals import OriginalLost
from streamapp.model.record import TopicRecord
from streamapp.settings import Settings

#: Bytes of a value in the hex dump of `show`.
_MAX_SHOWN_BYTES = 1024
#: Foreign records that are listed one by one.
_MAX_LISTED = 20


@click.group("dlq")
def command() -> None:
    """List and show dead letters, and replay them once the cause is fixed."""


@click.command("list")
@filter_options
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="List the newest N; 0 lists all.",
)
@json_option
@handle_errors
def list_letters(*, letter_filter: DeadLetterFilter, limit: int, as_json: bool) -> None:
    """Count the dead letters by reason, and list them, newest first."""
    settings = load_settings()
    with open_browser(settings) as browser:
        topic_exists = bool(browser.letters.partitions())
        index, letters = read_letters(browser, letter_filter, needs_store=False)
    newest = sorted(letters, key=lambda one: (one.letter.failed_at, one.letter.offset), reverse=True)
    shown = newest[: limit or None]
    foreign = index.unrecognized if letter_filter == DeadLetterFilter() else []
    if is_json(as_json=as_json):
        _print_json(settings, letters, shown, foreign)
    else:
        _print_lines(letters, shown, foreign)
        if not letters:
            _explain_none(settings, letter_filter, topic_exists=topic_exists)


def _print_json(
    settings: Settings,
    letters: Sequence[ClassifiedDeadLetter],
    shown: Sequence[ClassifiedDeadLetter],
    foreign: Sequence[tuple[int, int]],
) -> None:
    facts = {
        "topic": settings.dead_letter_topic,
        "letters": len(letters),
        "reasons": [letter_text.summary_json(summary) for summary in histogram(letters)],
        "shown": [{**letter_text.letter_json(one.letter), "state": one.state} for one in shown],
        "foreign": [{"partition": partition, "offset": offset} for partition, offset in foreign],
    }
    click.echo(json.dumps(facts))


def _explain_none(settings: Settings, letter_filter: DeadLetterFilter, *, topic_exists: bool) -> None:
    topic = settings.dead_letter_topic
    if not topic_exists:
        click.echo(_no_topic(topic), err=True)
    elif letter_filter == DeadLetterFilter():
        click.echo(f"There are no dead letters in {topic}.", err=True)
    else:
        click.echo(f"No dead letter in {topic} matches the options.", err=True)


def _no_topic(topic: str) -> str:
    return f"The topic {topic} does not exist: there are no dead letters."


def _print_lines(
    letters: Sequence[ClassifiedDeadLetter], shown: Sequence[ClassifiedDeadLetter], foreign: Sequence[tuple[int, int]]
) -> None:
    if letters:
        click.echo("\n".join(letter_text.reason_lines(histogram(letters))))
        click.echo()
        click.echo("\n".join(letter_text.letter_lines(shown)))
    if len(shown) < len(letters):
        click.echo(f"… and {len(letters) - len(shown)} older ones; --limit shows more", err=True)
    if foreign:
        places = ", ".join(f"{partition}:{offset}" for partition, offset in foreign[:_MAX_LISTED])
        more = f" and {len(foreign) - _MAX_LISTED} more" if len(foreign) > _MAX_LISTED else ""
        click.echo(
            f"{len(foreign)} foreign records, without the headers of a dead letter (partition:offset): {places}{more}",
            err=True,
        )


@click.command()
@click.argument("place", metavar="PARTITION:OFFSET", required=False)
@click.option("--origin", metavar="TOPIC-PARTITION-OFFSET", help="Show the last dead letter of this record.")
@click.option("--raw", is_flag=True, help="Write only the original bytes to stdout.")
@json_option
@handle_errors
def show(*, place: str | None, origin: str | None, raw: bool, as_json: bool) -> None:
    """Show a dead letter: headers, key and value.

    PARTITION:OFFSET is its position in the dead-letter topic, as `streamapp dlq list` prints it.
    """
    if (place is None) == (origin is None):
        raise click.UsageError("Give either PARTITION:OFFSET or --origin.")
    if raw and is_json(as_json=as_json):
        raise click.UsageError("Give either --raw or --json, not both.")
    settings = load_settings()
    with open_browser(settings) as browser:
        if not browser.letters.partitions():
            raise click.ClickException(_no_topic(browser.letters.topic))
        partition, offset = _parse_place(place) if place else _find_by_origin(browser, origin or "")
        record = browser.record(partition, offset)
        if record is not None:
            record = _restored(browser, record, must_have_value=raw)
    if record is None:
        raise click.ClickException(f"There is no record at {partition}:{offset} of {settings.dead_letter_topic}.")
    if raw:
        _write(record)
    elif is_json(as_json=as_json):
        click.echo(json.dumps(letter_text.record_json(record)))
    else:
        click.echo("\n".join(letter_text.record_lines(record, max_bytes=_MAX_SHOWN_BYTES)))


def _restored(browser: DeadLetterBrowser, record: TopicRecord, *, must_have_value: bool) -> TopicRecord:
    try:
        found = browser.restored(record)
    except OriginalLost as exc:
        if must_have_value:
            raise click.ClickException(f"There are no bytes to write: {exc}.") from None
        click.echo(f"The value cannot be shown: {exc}.", err=True)
        return record
    if found is not record:
        click.echo("The dead letter was written without its value, which was read from the original topic.", err=True)
        return found._replace(headers=record.headers)
    return record


def _parse_place(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9}):(\d{1,18})", text)
    if not found:
        raise click.BadParameter(f"{text!r} is not PARTITION:OFFSET. Example: 0:24", param_hint="PARTITION:OFFSET")
    return int(found[1]), int(found[2])


def _find_by_origin(browser: DeadLetterBrowser, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(.+)-(\d{1,9})-(\d{1,18})", text)
    if not found:
        raise click.BadParameter(
            f"{text!r} is not TOPIC-PARTITION-OFFSET. Example: user_events-2-118", param_hint="--origin"
        )
    letter = browser.read().latest_of(found[1], int(found[2]), int(found[3]))
    if letter is None:
        raise click.ClickException(f"{browser.letters.topic} has no dead letter of {text}.")
    return letter.partition, letter.offset


def _write(record: TopicRecord) -> None:
    if record.value is None:
        click.echo("The value is null: there are no bytes to write.", err=True)
    sys.stdout.buffer.write(record.value or b"")
    sys.stdout.buffer.flush()


for each in (list_letters, show, dlq_replay.command):
    command.add_command(each)
