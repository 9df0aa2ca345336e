"""`python -m benchmarks.spread COUNT SECONDS`: send sample events whose times lie at random within the last seconds.

So do the events of devices that were offline, of a backfill, or of partitions that are read at different speeds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from streamapp import settings
from streamapp.connections.kafka import KafkaConnection
from streamapp.decode.wire_format import EventCodec
from streamapp.samples import sender
from streamapp.samples.sender import SamplePlan, Sender

_UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
_TEXT = re.compile(r"([1-9][0-9]{0,4})(s|min|h|d)")
_SEED = 1


class Spread(NamedTuple):
    """How far event times are spread."""

    name: str
    #: 0: the events are in the order of their times.
    seconds: int

    def label(self, program: str) -> str:
        """The name of a program's rounds with these events."""
        return f"{program}, {self.name}" if self.seconds else program


#: The usual events: their times are those of sending.
IN_ORDER = Spread("0", 0)


def parsed(text: str) -> Sequence[Spread]:
    """Return the spreads of a comma-separated list such as 0,1h,1d,7d."""
    return [_parsed(each) for each in dict.fromkeys(text.split(","))]


def _parsed(text: str) -> Spread:
    if text == IN_ORDER.name:
        return IN_ORDER
    if not (found := _TEXT.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a spread: 0, or a number with s, min, h or d, such as 1h")
    return Spread(text, int(found[1]) * _UNITS[found[2]])


def command(count: int, spread: Spread) -> Sequence[str]:
    """Return the command that sends events with this spread."""
    return [sys.executable, "-m", __name__, str(count), str(spread.seconds)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpreadPlan(SamplePlan):
    seconds: int
    source: random.Random = field(default_factory=lambda: random.Random(_SEED))  # noqa: S311 - sample data

    def event_time(self, index: int) -> int:  # noqa: ARG002 - they are drawn one after the other
        return int((time.time() - self.source.random() * self.seconds) * 1000)


def main() -> None:
    """Send the events, and wait until Kafka has acknowledged them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spread", description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("seconds", type=int)
    options = parser.parse_args()
    known = settings.load()
    plan = _SpreadPlan(
        count=options.count,
        rate=None,
        seed=_SEED,
        v2_ratio=known.v2_ratio,
        start=None,
        faults={},
        seconds=options.seconds,
    )
    schemas, context = asyncio.run(sender.prepare(known, plan.faults))
    sending = Sender(sender.new_producer(KafkaConnection.of(known), reports_all=False), known.topic)
    records = sender.outgoing_records(
        plan, EventCodec(schemas), context, paced=lambda samples: islice(samples, plan.count)
    )
    sending.send(records, deferred=contextlib.nullcontext())
    sending.flush()
    if sending.counts.unacknowledged:
        sys.exit(f"{sending.counts.unacknowledged} events were not acknowledged: {sending.counts.error}")


if __name__ == "__main__":
    main()
