"""`streamapp send-sample`: send sample events, at full speed or at a rate, and wait for their acknowledgements."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from streamapp.commands.interrupts import Interrupted, Interrupts
from streamapp.commands.options import handle_errors, instant, json_option, load_settings, report
from streamapp.commands.progress import pace, paced, progress
from streamapp.connections.kafka import KafkaConnection
from streamapp.decode.wire_format import EventCodec
from streamapp.errors import BrokerUnavailable
from streamapp.kafka.faults import described, is_answer, right_to_topic
from streamapp.model.user_event import VERSIONS
from streamapp.samples import faults, sender
from streamapp.samples.faults import Fault
from streamapp.samples.generator import Sample
from streamapp.samples.rhythm import Rhythm, Span
from streamapp.samples.sender import DeliveryCounts, SamplePlan, Sender
from streamapp.settings import Settings
from streamapp.verify import manifest_file
from streamapp.verify.checks.manifest import NoManifestError
from streamapp.verify.manifest_recorder import ManifestRecorder

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}
_SPAN = re.compile(r"([0-9]{1,7})(d|h|min)")
_HEADER = re.compile(rf"(?:v([{VERSIONS[0]}-{VERSIONS[-1]}]):)?([A-Za-z0-9._-]+)=(.*)", re.DOTALL)
_HEADER_EXAMPLES = "client=shop, v1:client_version=1.8"
_LONGEST = timedelta(days=3_650)


def _parse_faults(_context: click.Context, parameter: click.Parameter, text: str | None) -> Mapping[Fault, float]:
    try:
        return {} if text is None else faults.parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=parameter) from None


def _parse_headers(
    _context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> Mapping[int, sender.Headers]:
    """Return the headers of the records of each version."""
    headers: Mapping[int, list[tuple[str, bytes]]] = {version: [] for version in VERSIONS}
    for text in texts:
        found = _HEADER.fullmatch(text)
        if not found:
            raise click.BadParameter(f"{text!r} is no header. Examples: {_HEADER_EXAMPLES}", param=parameter)
        for version in [int(found[1])] if found[1] else VERSIONS:
            headers[version].append((found[2], found[3].encode("utf-8", "surrogateescape")))
    return headers


def _parse_span(_context: click.Context, parameter: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    if not found or not int(found[1]) or int(found[1]) * _UNITS[found[2]] > _LONGEST:
        message = f"{text!r} is not a span of at most 3650d. Examples: 90d, 24h, 30min"
        raise click.BadParameter(message, param=parameter)
    return int(found[1]) * _UNITS[found[2]]


def _check_manifest(_context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file to which no run can be added, before anything is sent."""
    try:
        if path:
            manifest_file.try_out(path)
    except (OSError, NoManifestError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise click.BadParameter(f"{path}: {why}", param=parameter) from None
    return path


@click.command("send-sample")
@click.option("--count", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="Events to send.")
@click.option("--rate", metavar="N", type=pace, help="Events per second.  [default: full speed]")
@click.option("--seed", type=int, help="Repeat users, types, devices, locations, browsers, versions and order.")
@click.option("--v2-ratio", type=click.FloatRange(0, 1), help="Fraction of events with schema V2.  [default: 0.7]")
@click.option(
    "--start",
    metavar="TIME",
    help="Event time of the first event, ISO 8601; the others follow by 1/rate.  [default: the time of sending]",
)
@click.option(
    "--over",
    metavar="SPAN",
    callback=_parse_span,
    help="Spread the event times over a span such as 90d, 24h or 30min, with a daily and a weekly rhythm. The span"
    " begins at --start, or ends now.",
)
@click.option(
    "--faults",
    "fractions",
    callback=_parse_faults,
    metavar="NAME=FRACTION,…",
    help=f"Give these fractions of the events a fault, for a drill. Names: {', '.join(Fault)}.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=_parse_headers,
    metavar="[vN:]NAME=VALUE",
    help=f"Add a header to the records; with v1: before its name, to those of schema V1. It can be given several times."
    f" Examples: {_HEADER_EXAMPLES}. The dashboard lists by the headers client and client_version who sends a version.",
)
@click.option(
    "--manifest",
    "--ledger",
    "manifest",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_manifest,
    help="Append to this file what was sent, for `streamapp verify --manifest`; --ledger is its old name.",
)
@json_option
@handle_errors
def command(  # noqa: PLR0913 - its options
    *,
    count: int,
    rate: float | None,
    seed: int | None,
    v2_ratio: float | None,
    start: str | None,
    over: timedelta | None,
    fractions: Mapping[Fault, float],
    headers: Mapping[int, sender.Headers],
    manifest: Path | None,
    as_json: bool,
) -> None:
    """Send sample events to the topic, and wait until Kafka has acknowledged them."""
    settings = load_settings()
    ratio = settings.v2_ratio if v2_ratio is None else v2_ratio
    began_at = instant(start, option="--start")
    plan = SamplePlan(
        count=count,
        rate=rate,
        seed=seed,
        v2_ratio=ratio,
        start=began_at,
        faults=fractions,
        headers=headers,
        rhythm=None if over is None else Rhythm(_span(began_at, over), count),
    )
    _send(plan, settings, manifest, as_json=as_json)


def _span(start: datetime | None, length: timedelta) -> Span:
    try:
        start = datetime.now(UTC) - length if start is None else start
        return Span(start=start, end=start + length)
    except OverflowError:
        raise click.BadParameter("the span must lie within the years 1 to 9999.", param_hint="--over") from None


def _send(plan: SamplePlan, settings: Settings, manifest: Path | None, *, as_json: bool) -> None:
    schemas, context = asyncio.run(sender.prepare(settings, plan.faults))
    recorder = asyncio.run(ManifestRecorder.begin(settings, schemas)) if manifest else None
    began, exit_code = time.monotonic(), 0
    sending = Sender(
        sender.new_producer(KafkaConnection.of(settings), reports_all=recorder is not None),
        settings.topic,
        on_acknowledged=recorder.add if recorder else None,
    )
    records = sender.outgoing_records(
        plan, EventCodec(schemas), context, paced=lambda samples: _shown(paced(samples, plan.rate), plan.count)
    )
    with Interrupts() as interrupts:
        try:
            sending.send(records, deferred=interrupts.deferred)
            interrupts.ignore()
        except Interrupted as exc:
            exit_code = exc.exit_code
        sending.flush()
        if manifest and recorder:
            recorder.write(manifest, unacknowledged=sending.counts.unacknowledged)
    _report(sending.counts, plan, seconds=time.monotonic() - began, as_json=as_json)
    _exit(sending.counts, settings.topic, exit_code)


def _shown(samples: Iterator[Sample], count: int) -> Iterator[Sample]:
    with progress("sending", count) as advance:
        for done, sample in enumerate(samples, start=1):
            yield sample
            if done % 100 == 0:
                advance(100)


def _report(counts: DeliveryCounts, plan: SamplePlan, *, seconds: float, as_json: bool) -> None:
    facts = {
        "sent": counts.sent.total(),
        "acknowledged": counts.acknowledged,
        **{f"v{version}": counts.storable(version) for version in VERSIONS},
        **{fault.value: counts.with_fault(fault) for fault in plan.faults},
        "seconds": round(seconds, 3),
    }
    report(facts, as_json=as_json)


def _exit(counts: DeliveryCounts, topic: str, exit_code: int) -> None:
    if exit_code:
        sys.exit(exit_code)
    if counts.unacknowledged:
        error = counts.error
        why = described(error, right_to_topic("WRITE", topic)) if error else "no answer in time"
        message = f"{counts.unacknowledged} events were not acknowledged: {why}"
        raise BrokerUnavailable(message, is_running=error is not None and is_answer(error))
