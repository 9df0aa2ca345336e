"""The lag, the throughput and the dead letters of the last minutes or hours, in steps; pure, and unknown is None."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dashboard.model.health import age_at_most, present
from dashboard.model.time_window import EPOCH, from_ms
from streamapp.monitoring.lag_history import DAY, HOUR

if TYPE_CHECKING:
    from dashboard.model.health import Document, Point

_RECENT = "recent"
#: Lines in one chart.
MOST_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time until now, in steps."""

    key: str
    """Text on the button and in the address."""
    length: timedelta
    step: timedelta
    field: str
    """The field of a partition's document that covers it."""

    @property
    def counting(self) -> Span:
        """The same span in steps for which dead letters are counted: a minute or more."""
        return replace(self, step=max(self.step, HOUR.step))

    def number_of(self, at: datetime) -> int:
        """The number of the step that holds an instant."""
        return (at - EPOCH) // self.step

    def numbers(self, last: int) -> range:
        """The numbers of its steps, given that of the last one."""
        return range(last - self.length // self.step, last + 1)

    def start_of(self, number: int) -> datetime:
        """The start of a step."""
        return EPOCH + number * self.step


SPANS = (
    Span(key="10 min", length=timedelta(minutes=10), step=timedelta(seconds=10), field=_RECENT),
    Span(key="1 h", length=timedelta(hours=1), step=HOUR.step, field=HOUR.name),
    Span(key="24 h", length=timedelta(days=1), step=DAY.step, field=DAY.name),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineHistory:
    """What was read for a span."""

    span: Span
    #: With `recent`, and the field of the span.
    partitions: Sequence[Document] = ()
    #: Number of dead letters by reason and by the start of the step in which they were counted, epoch ms.
    dead_letters: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, Mapping[int, int]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart, or the bars of one reason."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """The charts of a span."""

    lag: tuple[Point, ...]
    lag_seconds: tuple[Point, ...]
    rate: tuple[Point, ...]
    partitions: tuple[Line, ...]
    """The lag of the partitions with the greatest lag in the span, in the order of their numbers."""
    others: int
    """Number of partitions without a line."""
    dead_letters: tuple[Line, ...]


def trends(history: PipelineHistory, now: datetime) -> Trends:
    """Return the charts as of an instant."""
    span, partitions = history.span, present(history.partitions)
    lags = _by_partition(partitions, span, lambda entry: entry["lag"], max)
    lines = _lines(lags, span, now)
    return Trends(
        lag=_total(lags, sum, span, now),
        lag_seconds=_total(_by_partition(partitions, span, age_at_most, max), max, span, now),
        rate=_total(_by_partition(partitions, span, lambda entry: entry["rate"], _mean), sum, span, now),
        partitions=lines,
        others=len(lags) - len(lines),
        dead_letters=_dead_letters(history, now),
    )


#: By partition and by the number of the step.
_Values = Mapping[int, Mapping[int, float]]


def _by_partition(
    partitions: Sequence[Document],
    span: Span,
    value_of: Callable[[Document], float | None],
    of_step: Callable[[Sequence[float]], float],
) -> _Values:
    """The value of each step, where it is known; the newest steps have no entry of their own yet."""
    found: dict[int, dict[int, float]] = {}
    for partition in partitions:
        steps: dict[int, list[float]] = {}
        for entry in _entries(partition, span):
            if (value := value_of(entry)) is not None:
                steps.setdefault(span.number_of(entry["at"]), []).append(value)
        found[partition["partition"]] = {step: of_step(values) for step, values in steps.items()}
    return found


def _entries(partition: Document, span: Span) -> Sequence[Document]:
    recent = partition[_RECENT]
    if span.field == _RECENT:
        return recent
    entries = partition.get(span.field, ())
    ended = {span.number_of(entry["at"]) for entry in entries}
    return [*entries, *(entry for entry in recent if span.number_of(entry["at"]) not in ended)]


def _total(values: _Values, of_all: Callable[[Iterable[float]], float], span: Span, now: datetime) -> tuple[Point, ...]:
    """The value of all partitions together in each step; unknown where not every partition tells."""
    steps: dict[int, list[float]] = {}
    for of_partition in values.values():
        for step, value in of_partition.items():
            steps.setdefault(step, []).append(value)
    return _points({step: of_all(known) for step, known in steps.items() if len(known) == len(values)}, span, now)


def _points(values: Mapping[int, float], span: Span, now: datetime) -> tuple[Point, ...]:
    # Some workers may not have reported on the step that has just begun.
    last = span.number_of(now) if span.number_of(now) in values else span.number_of(now) - 1
    return tuple((span.start_of(step), values.get(step)) for step in span.numbers(last))


def _lines(lags: _Values, span: Span, now: datetime) -> tuple[Line, ...]:
    shown = {*span.numbers(span.number_of(now))}
    greatest = {
        number: max((lag for step, lag in steps.items() if step in shown), default=0) for number, steps in lags.items()
    }
    ranked = sorted(greatest, key=lambda number: (-greatest[number], number))[:MOST_LINES]
    return tuple(Line(name=f"partition {number}", points=_points(lags[number], span, now)) for number in sorted(ranked))


def _dead_letters(history: PipelineHistory, now: datetime) -> tuple[Line, ...]:
    span = history.span.counting
    numbers = span.numbers(span.number_of(now))
    found = {
        reason: {span.number_of(from_ms(at)): n for at, n in counted.items()}
        for reason, counted in history.dead_letters.items()
    }
    return tuple(
        Line(name=reason, points=tuple((span.start_of(step), of_reason.get(step, 0)) for step in numbers))
        for reason, of_reason in sorted(found.items())
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
