"""Faults for drills: each kind surely meets its fate, and a seed repeats it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pytest

from streamapp.decode import document, wire_format
from streamapp.decode.document import EventTimes
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import Undecodable
from streamapp.model.record import Origin, Reason
from streamapp.samples.faults import REASONS, Fault, FaultContext, Faults, parse
from streamapp.samples.generator import samples
from tests.support.factories import NOW, V1, V2, wire

HOUR, DAY = 3_600_000, 86_400_000
TIMES = EventTimes(earliest=NOW - 10 * DAY, ahead=DAY)
ORDER = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "int"}]}
FOREIGN = writer_schema(ORDER, schema_id=9, version="unregistered")
GROUND = FaultContext(
    times=TIMES, schemas={1: V1, 2: V2}, unknown_id=2**31 - 1, foreign=wire({"total": 1}, schema=ORDER, schema_id=9)
)
STORED = [fault for fault in Fault if fault not in REASONS]


def faults(shares: dict[Fault, float], *, seed: int = 7, context: FaultContext = GROUND) -> Faults:
    """Return the faults of a seed."""
    return Faults(shares, seed=seed, context=context)


def run(shares: dict[Fault, float], count: int, *, seed: int = 7) -> list[tuple[Fault | None, bytes | None]]:
    """Return what becomes of the first samples of a seed, which happen a millisecond apart."""
    spoilt = faults(shares, seed=seed)
    became: list[tuple[Fault | None, bytes | None]] = []
    for index, sample in enumerate(islice(samples(seed=seed, v2_ratio=0.7), count)):
        fault = spoilt.draw()
        at = spoilt.event_time(fault, NOW + index)
        became.append((fault, spoilt.wire(fault, wire(sample.event(at=at)))))
    return became


def fate(value: bytes | None) -> Reason | None:
    """Return why the worker would make it a dead letter, if it would."""
    origin = Origin("user_events", 0, 0, NOW, None)
    try:
        writer, event = wire_format.decode(value, {1: V1, 2: V2, 9: FOREIGN})
        document.build(event, writer=writer, origin=origin, received_at=datetime.now(UTC), times=TIMES)
    except Undecodable as exc:
        return Reason(exc.reason)
    return None


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_surely_meets_its_fate(fault: Fault) -> None:
    """A thousand samples, of both versions."""
    assert {(fault, REASONS.get(fault))} == {(found, fate(value)) for found, value in run({fault: 1.0}, 1_000)}


def test_all_reasons_that_a_producer_alone_can_cause_are_there() -> None:
    """What MongoDB refuses needs a schema with a field to refuse."""
    assert {*Reason} - {Reason.REFUSED_BY_STORE} == {*REASONS.values()}


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_are_as_asked(seed: int) -> None:
    """Within one percentage point over 20,000 events."""
    shares = parse("corrupt=0.01,unknown-id=0.01,late=0.05,duplicate=0.02,null=0.001,empty=0.3")
    spoilt = faults(shares, seed=seed)
    counts = Counter(spoilt.draw() for _ in range(20_000))

    for fault, share in {**shares, None: 1 - sum(shares.values())}.items():
        assert share == pytest.approx(counts[fault] / 20_000, abs=0.01), fault


def test_a_seed_repeats_every_byte() -> None:
    """And another one does not."""
    shares = dict.fromkeys(Fault, 0.08)

    assert run(shares, 500) == run(shares, 500)
    assert run(shares, 500) != run(shares, 500, seed=8)


def test_events_without_a_fault_are_those_of_a_run_without_faults() -> None:
    """Same bytes at the same place."""
    plain = run({}, 500)
    spoilt = run(dict.fromkeys(Fault, 0.05), 500)

    assert {None} == {fault for fault, _ in plain}
    pairs = [
        (before, after) for before, after in zip(plain, spoilt, strict=True) if after[0] in (None, Fault.DUPLICATE)
    ]
    assert 200 < len(pairs) < 500
    assert all(before[1] == after[1] for before, after in pairs)


def test_late_is_hours_to_days() -> None:
    """From one hour to three days, so that it falls into another bucket."""
    spoilt = faults({Fault.LATE: 1})
    delays = [NOW - spoilt.event_time(Fault.LATE, NOW) for _ in range(1_000)]

    assert HOUR <= min(delays) < 3 * HOUR
    assert 2.8 * DAY < max(delays) <= 3 * DAY


@pytest.mark.parametrize("at", [TIMES.earliest + HOUR, TIMES.earliest, TIMES.earliest - DAY])
def test_late_is_not_too_early_to_be_believed(at: int) -> None:
    """What was good without the fault is good with it; nothing becomes later by it."""
    assert faults({}).event_time(Fault.LATE, at) == min(at, TIMES.earliest)


def test_future_fits_into_64_bits() -> None:
    """Whatever is allowed."""
    wide = FaultContext(times=EventTimes(earliest=0, ahead=2**70), schemas={})

    assert 2**63 - 1 == faults({}, context=wide).event_time(Fault.FUTURE, NOW)


def test_what_has_no_text_to_corrupt_gets_a_byte_too_many() -> None:
    """Which nobody can read either."""
    schema = {"type": "record", "name": "Small", "fields": []}

    assert wire({}, schema=schema, schema_id=5) + b"\xff" == faults({}).wire(
        Fault.CORRUPT, wire({}, schema=schema, schema_id=5)
    )


def test_without_a_seed_each_run_differs() -> None:
    """As the samples do."""
    runs = [Faults({Fault.LATE: 1}, seed=None, context=GROUND).event_time(Fault.LATE, NOW) for _ in range(5)]

    assert len({*runs}) > 1


def test_shares_are_read() -> None:
    """In the order given, spaces and all."""
    assert {Fault.LATE: 0.5, Fault.UNKNOWN_ID: 0.0, Fault.CORRUPT: 0.5} == parse("late=0.5, unknown-id = 0,corrupt=.5")
    assert {Fault.LATE: 0.7, Fault.NULL: 0.2, Fault.EMPTY: 0.1} == parse("late=0.7,null=0.2,empty=0.1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("corupt=0.1", "there is no fault 'corupt'. Faults: corrupt, truncated, bad-magic"),
        ("", "there is no fault ''"),
        ("late=0.1,", "there is no fault ''"),
        ("late", "the share of late is ''; it must be a number from 0 to 1, as in late=0.01"),
        ("late=1.5", "the share of late is '1.5'"),
        ("late=-0.1", "the share of late is '-0.1'"),
        ("late=nan", "the share of late is 'nan'"),
        ("late=5%", "the share of late is '5%'"),
        ("late=0.1,late=0.2", "late stands there twice"),
        ("late=0.6,null=0.6", "the shares add up to 1.2, which is more than 1"),
    ],
)
def test_wrong_shares_are_explained(text: str, words: str) -> None:
    """In words, with what there is and an example."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)

    assert words in str(caught.value)
