"""Faults for drills: each fault has its outcome, and a seed repeats it."""

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
CONTEXT = FaultContext(
    times=TIMES, schemas={1: V1, 2: V2}, unknown_id=2**31 - 1, foreign=wire({"total": 1}, schema=ORDER, schema_id=9)
)
STORED = [fault for fault in Fault if fault not in REASONS]


def faults(shares: dict[Fault, float], *, seed: int = 7, context: FaultContext = CONTEXT) -> Faults:
    """Return the faults of a seed."""
    return Faults(shares, seed=seed, context=context)


def run(shares: dict[Fault, float], count: int, *, seed: int = 7) -> list[tuple[Fault | None, bytes | None]]:
    """Return fault and wire bytes of the first samples of a seed, with event times one millisecond apart."""
    changed = faults(shares, seed=seed)
    records: list[tuple[Fault | None, bytes | None]] = []
    for index, sample in enumerate(islice(samples(seed=seed, v2_ratio=0.7), count)):
        fault = changed.draw()
        at = changed.event_time(fault, NOW + index)
        records.append((fault, changed.wire(fault, wire(sample.event(at=at)))))
    return records


def dead_letter_reason(value: bytes | None) -> Reason | None:
    """Return the reason for which a worker dead-letters the bytes; None if it stores them."""
    origin = Origin("user_events", 0, 0, NOW, None)
    try:
        writer, event = wire_format.decode(value, {1: V1, 2: V2, 9: FOREIGN})
        document.build(event, writer=writer, origin=origin, received_at=datetime.now(UTC), times=TIMES)
    except Undecodable as exc:
        return Reason(exc.reason)
    return None


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_always_has_its_outcome(fault: Fault) -> None:
    """In a thousand samples, of both versions."""
    assert {(fault, REASONS.get(fault))} == {
        (found, dead_letter_reason(value)) for found, value in run({fault: 1.0}, 1_000)
    }


def test_there_is_a_fault_for_each_reason_that_a_producer_can_cause() -> None:
    """All but `refused-by-store`, which needs a schema with a field that MongoDB refuses."""
    assert {*Reason} - {Reason.REFUSED_BY_STORE} == {*REASONS.values()}


@pytest.mark.parametrize("seed", range(5))
def test_each_fault_has_the_fraction_that_was_given(seed: int) -> None:
    """Within one percentage point over 20,000 events."""
    shares = parse("corrupt=0.01,unknown-id=0.01,late=0.05,duplicate=0.02,null=0.001,empty=0.3")
    spoilt = faults(shares, seed=seed)
    counts = Counter(spoilt.draw() for _ in range(20_000))

    for fault, share in {**shares, None: 1 - sum(shares.values())}.items():
        assert share == pytest.approx(counts[fault] / 20_000, abs=0.01), fault


def test_a_seed_repeats_every_byte() -> None:
    """Another seed gives other faults."""
    shares = dict.fromkeys(Fault, 0.08)

    assert run(shares, 500) == run(shares, 500)
    assert run(shares, 500) != run(shares, 500, seed=8)


def test_events_without_a_fault_are_those_of_a_run_without_faults() -> None:
    """The same bytes at the same positions."""
    plain = run({}, 500)
    spoilt = run(dict.fromkeys(Fault, 0.05), 500)

    assert {None} == {fault for fault, _ in plain}
    pairs = [
        (before, after) for before, after in zip(plain, spoilt, strict=True) if after[0] in (None, Fault.DUPLICATE)
    ]
    assert 200 < len(pairs) < 500
    assert all(before[1] == after[1] for before, after in pairs)


def test_a_late_event_is_one_hour_to_three_days_late() -> None:
    """So that it belongs to another bucket."""
    spoilt = faults({Fault.LATE: 1})
    delays = [NOW - spoilt.event_time(Fault.LATE, NOW) for _ in range(1_000)]

    assert HOUR <= min(delays) < 3 * HOUR
    assert 2.8 * DAY < max(delays) <= 3 * DAY


@pytest.mark.parametrize("at", [TIMES.earliest + HOUR, TIMES.earliest, TIMES.earliest - DAY])
def test_a_late_event_stays_in_range(at: int) -> None:
    """Its time is not before the earliest event time, and not after the time without the fault."""
    assert faults({}).event_time(Fault.LATE, at) == min(at, TIMES.earliest)


def test_a_time_in_the_future_fits_into_64_bits() -> None:
    """Whatever lead the settings allow."""
    wide = FaultContext(times=EventTimes(earliest=0, ahead=2**70), schemas={})

    assert 2**63 - 1 == faults({}, context=wide).event_time(Fault.FUTURE, NOW)


def test_a_body_without_a_byte_to_corrupt_gets_an_extra_byte() -> None:
    """It cannot be decoded either."""
    schema = {"type": "record", "name": "Small", "fields": []}

    assert wire({}, schema=schema, schema_id=5) + b"\xff" == faults({}).wire(
        Fault.CORRUPT, wire({}, schema=schema, schema_id=5)
    )


def test_without_a_seed_each_run_has_other_faults() -> None:
    """As it has other samples."""
    runs = [Faults({Fault.LATE: 1}, seed=None, context=CONTEXT).event_time(Fault.LATE, NOW) for _ in range(5)]

    assert len({*runs}) > 1


def test_fractions_are_parsed_in_their_order() -> None:
    """Spaces are ignored."""
    assert {Fault.LATE: 0.5, Fault.UNKNOWN_ID: 0.0, Fault.CORRUPT: 0.5} == parse("late=0.5, unknown-id = 0,corrupt=.5")
    assert {Fault.LATE: 0.7, Fault.NULL: 0.2, Fault.EMPTY: 0.1} == parse("late=0.7,null=0.2,empty=0.1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("corupt=0.1", "there is no fault 'corupt'. Faults: corrupt, truncated, bad-magic"),
        ("", "there is no fault ''"),
        ("late=0.1,", "there is no fault ''"),
        ("late", "the fraction of late is ''; it must be a number from 0 to 1, as in late=0.01"),
        ("late=1.5", "the fraction of late is '1.5'"),
        ("late=-0.1", "the fraction of late is '-0.1'"),
        ("late=nan", "the fraction of late is 'nan'"),
        ("late=5%", "the fraction of late is '5%'"),
        ("late=0.1,late=0.2", "late is given twice"),
        ("late=0.6,null=0.6", "the fractions add up to 1.2, which is more than 1"),
    ],
)
def test_invalid_fractions_are_refused(text: str, words: str) -> None:
    """The message names the invalid part and gives an example."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)

    assert words in str(caught.value)
