"""`streamapp rewind`: set the group back to earlier offsets, so that workers read records again."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from streamapp.commands.interrupts import Interrupted, Interrupts
from streamapp.commands.options import handle_errors, instant, is_json, json_option, load_settings, report
from streamapp.commands.progress import progress
from streamapp.connections.kafka import KafkaConnection
from streamapp.dlq.letter_text import columns
from streamapp.errors import StreamappError
from streamapp.kafka import rewind
from streamapp.kafka.consumer_group import ConsumerGroup
from streamapp.kafka.rewind import PartitionRewind
from streamapp.kafka.topic_reader import TopicReader
from streamapp.settings import Settings

#: Seconds between two looks at the committed offsets; the workers commit once a second.
_POLL_SECONDS = 1.0

Offsets = Mapping[int, int]


def _parse_offsets(_context: click.Context, parameter: click.Parameter, text: str | None) -> Offsets | None:
    if text is None:
        return None
    offsets: dict[int, int] = {}
    for part in text.split(","):
        partition, _, offset = part.strip().partition(":")
        if not (partition.isdecimal() and offset.isdecimal()) or int(partition) in offsets:
            message = f"{part!r} is not PARTITION:OFFSET, each partition once. Example: 0:1500,1:1480"
            raise click.BadParameter(message, param=parameter)
        offsets[int(partition)] = int(offset)
    return offsets


def _parse_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    return instant(text, option="--to")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where the group goes back to: one of the three."""

    at: datetime | None
    offsets: Offsets | None
    is_earliest: bool


@click.command("rewind")
@click.option(
    "--to",
    "at",
    metavar="TIME",
    callback=_parse_time,
    help="Read the records again whose Kafka timestamp is this time or later, ISO 8601.",
)
@click.option(
    "--to-offset",
    "offsets",
    metavar="PARTITION:OFFSET,…",
    callback=_parse_offsets,
    help="Read these partitions again from these offsets on; the other partitions stay where they are.",
)
@click.option("--to-earliest", "is_earliest", is_flag=True, help="Read everything again that Kafka still has.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Change the offsets.  [default: print the plan only]")
@click.option("--wait", "waits", is_flag=True, help="With --yes: wait until workers have read the records again.")
@json_option
@handle_errors
def command(  # noqa: PLR0913 - its options
    *,
    at: datetime | None,
    offsets: Offsets | None,
    is_earliest: bool,
    is_confirmed: bool,
    waits: bool,
    as_json: bool,
) -> None:
    """Set the consumer group back to earlier offsets; the workers then read records again.

    Stop all workers before. Events that are stored stay as they are, and nothing is counted twice. Deleted events come
    back, and records that were dead letters are tried again.
    """
    if (at is not None) + (offsets is not None) + is_earliest != 1:
        raise click.UsageError("Give one of --to TIME, --to-offset PARTITION:OFFSET,… and --to-earliest.")
    if waits and not is_confirmed:
        raise click.UsageError("--wait needs --yes.")
    target = _Target(at=at, offsets=offsets, is_earliest=is_earliest)
    settings = load_settings()
    kafka = KafkaConnection.of(settings)
    with ExitStack() as stack:
        reader = stack.enter_context(TopicReader(kafka, settings.topic, group=settings.app_id))
        group = stack.enter_context(ConsumerGroup(kafka, settings.app_id, settings.topic))
        _rewind(_Session(settings, reader, group), target, is_confirmed=is_confirmed, waits=waits, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Session:
    """The group and the topic of the settings."""

    settings: Settings
    reader: TopicReader
    group: ConsumerGroup

    def plan(self, target: _Target) -> Sequence[PartitionRewind]:
        """Plan the rewind of each partition."""
        partitions = self.reader.partitions()
        if not partitions:
            raise StreamappError(f"Kafka has no topic {self.settings.topic} (STREAMAPP_TOPIC).")
        bounds = {partition: self.reader.bounds(partition) for partition in partitions}
        committed = self.committed()
        if target.offsets is not None:
            rewind.check_offsets(target.offsets, bounds, committed)
            return rewind.plan(bounds, committed, target.offsets)
        if target.at is not None:
            return rewind.plan(bounds, committed, self.group.offsets_at(partitions, target.at))
        return rewind.plan(bounds, committed, {partition: low for partition, (low, _) in bounds.items()})

    def committed(self) -> Offsets:
        """The committed offsets of the group."""
        return self.reader.committed(self.settings.app_id)


def _rewind(session: _Session, target: _Target, *, is_confirmed: bool, waits: bool, as_json: bool) -> None:
    plan = session.plan(target)
    members = session.group.members()
    if is_confirmed and members:
        raise StreamappError(_members_message(session.settings, members))
    if is_confirmed and (changed := {each.partition: each.to for each in plan if each.to is not None}):
        session.group.commit(changed)
    _report(plan, session.settings, is_confirmed=is_confirmed, as_json=as_json)
    if members:
        click.echo(_members_message(session.settings, members), err=True)
    if not any(each.offsets for each in plan):
        click.echo("There is nothing to read again.", err=True)
    elif not is_confirmed:
        click.echo("This was a dry run: nothing was changed. Add --yes to change the offsets.", err=True)
    elif waits:
        _wait(session, plan)
    else:
        click.echo("Start the workers: they read the records again. /metrics and the dashboard show the lag.", err=True)


def _members_message(settings: Settings, members: Sequence[str]) -> str:
    return (
        f"The group {settings.app_id} (STREAMAPP_APP_ID) has {len(members)} members ({', '.join(members[:3])}"
        f"{', …' if len(members) > 3 else ''}). Stop all workers first. A worker that was killed stays a member for"  # noqa: PLR2004
        f" {settings.session_timeout_seconds:g} s (STREAMAPP_SESSION_TIMEOUT_SECONDS)."
    )


def _report(plan: Sequence[PartitionRewind], settings: Settings, *, is_confirmed: bool, as_json: bool) -> None:
    facts: dict[str, Any] = {
        "topic": settings.topic,
        "group": settings.app_id,
        "rewound": is_confirmed,
        "offsets": sum(each.offsets for each in plan),
    }
    if is_json(as_json=as_json):
        partitions = [{**each._asdict(), "offsets": each.offsets} for each in plan]
        report({**facts, "partitions": partitions}, as_json=True)
        return
    rows = [["partition", "first", "committed", "rewind to", "offsets to read again"]]
    rows += [[_text(each.partition), *map(_text, each[1:]), _text(each.offsets)] for each in plan]
    click.echo("\n".join(columns(rows, right=range(len(rows[0])))))
    report({name: facts[name] for name in ("topic", "group", "offsets")}, as_json=False)


def _text(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _wait(session: _Session, plan: Sequence[PartitionRewind]) -> None:
    """Show the progress until the group has committed what it had committed before."""
    click.echo("Waiting until workers have read the records again; Ctrl-C ends the wait only.", err=True)
    total = left = rewind.remaining(plan, session.committed())
    with Interrupts(), progress("reading again", total) as advance:
        try:
            while left:
                time.sleep(_POLL_SECONDS)
                before, left = left, rewind.remaining(plan, session.committed())
                advance(before - left)
        except Interrupted as exc:
            sys.exit(exc.exit_code)
