"""The signals of the strip at the top of the page: what is wrong in the pipeline, and what to do; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dashboard.model import formatting
from dashboard.model.health import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.model.health import Health


class Severity(StrEnum):
    """How bad a signal is; a later one is worse."""

    GOOD = "good"
    UNKNOWN = "unknown"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which value on a signal is a warning, and from which one it is critical."""

    warning: float
    critical: float

    def severity(self, value: float | None) -> Severity:
        """The severity of a value; None: not known."""
        if value is None:
            return Severity.UNKNOWN
        if value >= self.critical:
            return Severity.CRITICAL
        return Severity.WARNING if value >= self.warning else Severity.GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The thresholds of all signals."""

    oldest_waiting_seconds: Threshold = Threshold(warning=30, critical=300)
    latency_p95_seconds: Threshold = Threshold(warning=5, critical=60)
    #: Of the records of the last 15 minutes; any dead letter at all is a warning.
    dead_letter_ratio: Threshold = Threshold(warning=0.0, critical=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal."""

    text: str
    severity: Severity
    meaning: str
    advice: str = ""
    """What is wrong, and what to do; "" if nothing is wrong."""


_OF_STATUS = {
    Status.LIVE: Severity.GOOD,
    Status.IDLE: Severity.GOOD,
    Status.STALLED: Severity.CRITICAL,
    Status.WAITING: Severity.WARNING,
    Status.UNKNOWN: Severity.UNKNOWN,
}


def signals(health: Health, thresholds: Thresholds) -> Sequence[Signal]:
    """Return the signals, always the same ones in the same order."""
    return (
        status(health),
        _oldest_waiting(health, thresholds.oldest_waiting_seconds),
        _latency(health, thresholds.latency_p95_seconds),
        _dead_letters(health, thresholds.dead_letter_ratio),
    )


def status(health: Health) -> Signal:
    """Return whether the pipeline works."""
    severity = _OF_STATUS[health.status]
    if health.status is Status.UNKNOWN and health.has_worker is False:
        todo = f"{health.why} Start one: `streamapp worker`"
        return Signal(text="No worker runs", severity=Severity.WARNING, meaning=health.why, advice=todo)
    if health.status is Status.STALLED:
        todo = "See the log and `/readyz` of the worker." if health.has_worker else "Start one: `streamapp worker`"
        return Signal(text="Pipeline stalled", severity=severity, meaning=health.why, advice=f"{health.why} {todo}")
    return Signal(text=f"Pipeline {health.status}", severity=severity, meaning=health.why)


def _oldest_waiting(health: Health, threshold: Threshold) -> Signal:
    seconds = health.lag_seconds
    text = (
        formatting.UNKNOWN if seconds is None else f"{'≤ ' * health.lag_seconds_is_bound}{formatting.seconds(seconds)}"
    )
    severity = threshold.severity(seconds)
    waiting = f"The oldest waiting message has waited for {text}."
    todo = "If this grows, start more workers, or see why MongoDB is slow: `streamapp doctor`"
    return Signal(
        text=f"Oldest waiting {text}",
        severity=severity,
        meaning="Age of the oldest message in Kafka that is not stored yet.",
        advice=_advice(severity, f"{waiting} {todo}"),
    )


def _latency(health: Health, threshold: Threshold) -> Signal:
    ms = health.latency.get(95)
    seconds = None if ms is None else ms / 1_000
    # A worker that has stored nothing has no latency.
    none = formatting.NONE if health.has_worker else formatting.UNKNOWN
    text = none if seconds is None else formatting.seconds(seconds)
    severity = threshold.severity(seconds)
    slow = f"5 of 100 events of the last five minutes took {text} or longer from Kafka to MongoDB."
    todo = "See which server is slow: `streamapp doctor`"
    return Signal(
        text=f"Latency p95 {text}",
        severity=severity,
        meaning="95 of 100 events of the last five minutes were stored within this time after they were sent; "
        "– if there were none.",
        advice=_advice(severity, f"{slow} {todo}"),
    )


def _dead_letters(health: Health, threshold: Threshold) -> Signal:
    n, share = health.recent_dead_letters, health.recent_dead_letter_share
    meaning = "Records of the last 15 minutes that could not be stored, and their share of all records."
    if n is None:
        return Signal(text=f"Dead letters {formatting.UNKNOWN}", severity=Severity.UNKNOWN, meaning=meaning)
    of = "" if share is None else f" ({formatting.percent(share)})" if n else ""
    severity = threshold.severity(1.0 if share is None else share) if n else Severity.GOOD
    found = f"{formatting.number(n)} records of the last 15 minutes could not be stored."
    todo = "See the reasons: `streamapp dlq list`"
    text = f"Dead letters {formatting.number(n)}{of} in 15 min"
    return Signal(text=text, severity=severity, meaning=meaning, advice=_advice(severity, f"{found} {todo}"))


def _advice(severity: Severity, text: str) -> str:
    return text if severity in {Severity.WARNING, Severity.CRITICAL} else ""
