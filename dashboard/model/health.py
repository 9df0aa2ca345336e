"""Compute the pipeline's health from the heartbeats of the workers; pure, and an unknown value is None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from dashboard.model.formatting import age
from dashboard.model.time_window import to_ms
from streamapp.monitoring.latency import BOUNDS_MS, Histogram

LIVE_FOR = timedelta(seconds=10)
#: A worker that has not written for so long is gone.
GONE_AFTER = timedelta(seconds=15)
STALLED_AFTER = timedelta(seconds=30)
#: For dead letters.
RECENT = timedelta(minutes=15)

Document = Mapping[str, Any]
#: An instant and what was the case then, None for unknown.
Point = tuple[datetime, float | None]


class Status(StrEnum):
    """How the pipeline is."""

    LIVE = "live"
    IDLE = "idle"
    STALLED = "stalled"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """What was read: documents as streamapp/monitoring/heartbeat.py and streamapp/mongodb/event_store.py write them."""

    partitions: Sequence[Document] = ()
    workers: Sequence[Document] = ()
    #: One per reason.
    dead_letters: Sequence[Document] = ()
    schemas: Sequence[Document] = ()
    #: Dead letters by the minute in which they were counted, its start in epoch ms.
    dead_letter_minutes: Mapping[int, int] = field(default_factory=dict[int, int])
    has_events: bool = False
    last_received_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker by its last heartbeat."""

    name: str
    age: timedelta
    running_for: timedelta | None
    partitions: int
    rate: float | None
    memory_bytes: int | None
    is_gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of the pipeline, as the page shows it."""

    status: Status
    why: str
    last_event_age: timedelta | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    #: It is less than that: of some partition only a bound is known.
    lag_seconds_is_bound: bool = False
    rate: float | None = None
    duplicates: int | None = None
    dead_letters: int | None = None
    #: Of the last 15 minutes, and their share of the records that were settled in this time.
    recent_dead_letters: int | None = None
    recent_dead_letter_share: float | None = None
    #: None: not known.
    has_worker: bool | None = None
    #: Milliseconds by percentile.
    latency: Mapping[int, float | None]
    workers: tuple[Worker, ...] = ()


def unknown(why: str) -> Health:
    """Return the health of a pipeline of which nothing could be read."""
    return Health(status=Status.UNKNOWN, why=why, latency=dict.fromkeys((50, 95, 99)))


def health(state: PipelineState, now: datetime) -> Health:
    """Return the pipeline's health at an instant."""
    partitions = present(state.partitions)
    workers = tuple(_worker(found, now) for found in state.workers)
    fresh = [found for found in state.workers if now - found["at"] <= GONE_AFTER]
    status, why = _status(state, partitions, now)
    # Old reports appear in the trend only; they do not describe the present.
    reported = partitions if _is_fresh(partitions, now) else []
    lag_seconds, is_bound = _lag_seconds(reported)
    letters = sum(
        n for minute, n in state.dead_letter_minutes.items() if minute >= to_ms(now - RECENT) // 60_000 * 60_000
    )
    return Health(
        status=status,
        why=why,
        last_event_age=now - state.last_received_at if state.last_received_at else None,
        lag=_lag(reported),
        lag_seconds=lag_seconds,
        lag_seconds_is_bound=is_bound,
        rate=_sum(found["rate"] for found in fresh),
        duplicates=_sum(found["fates"]["duplicates"] for found in state.workers),
        dead_letters=sum(found["n"] for found in state.dead_letters),
        recent_dead_letters=letters,
        recent_dead_letter_share=_share(letters, _settled(partitions, now)),
        has_worker=bool(fresh),
        latency=_latency(fresh),
        workers=tuple(sorted(workers, key=lambda worker: worker.age)),
    )


def _settled(partitions: Sequence[Document], now: datetime) -> float:
    """The number of records that were settled recently."""
    return sum(
        point["rate"] * (point["at"] - before["at"]).total_seconds()
        for found in partitions
        for before, point in pairwise(found["recent"])
        if point["rate"] is not None and point["at"] > now - RECENT
    )


def _share(n: int, of: float) -> float | None:
    if not n:
        return 0.0
    return min(n / of, 1.0) if of else None


def present(partitions: Sequence[Document]) -> list[Document]:
    """Return only those of the newest topic id: those of a deleted topic stay until their retention ends."""
    newest = max(partitions, key=lambda found: found["at"], default=None)
    return [found for found in partitions if newest and found["incarnation"] == newest["incarnation"]]


def _status(state: PipelineState, partitions: Sequence[Document], now: datetime) -> tuple[Status, str]:
    lag = _lag(partitions)
    is_fresh = _is_fresh(partitions, now)
    if lag and not is_fresh:
        return Status.STALLED, f"{_no_reports(state, now)} {lag:,} events were waiting at last."
    if any(_is_stuck(found, now) for found in partitions):
        return Status.STALLED, "Events are waiting in a partition where nothing has been settled for 30 s."
    if state.last_received_at and now - state.last_received_at < LIVE_FOR:
        return Status.LIVE, "Events are coming in."
    if not state.has_events and not lag:
        return Status.WAITING, "No event has been stored yet."
    if not is_fresh or lag is None:
        return Status.UNKNOWN, f"{_no_reports(state, now)} Events may be waiting in Kafka."
    return (Status.LIVE, "The worker is catching up.") if lag else (Status.IDLE, "Everything sent has been stored.")


def _no_reports(state: PipelineState, now: datetime) -> str:
    last = max((found["at"] for found in state.workers), default=None)
    if last is None:
        return "No worker runs."
    if now - last > GONE_AFTER:
        return f"No worker runs: the last heartbeat was {age(now - last)}."
    return "For 15 s, no worker has reported on at least one partition."


def _is_fresh(partitions: Sequence[Document], now: datetime) -> bool:
    return bool(partitions) and all(now - found["at"] <= GONE_AFTER for found in partitions)


def _is_stuck(partition: Document, now: datetime) -> bool:
    seen = [point for point in partition["recent"] if now - point["at"] <= STALLED_AFTER + GONE_AFTER]
    is_long_enough = bool(seen) and now - seen[0]["at"] >= STALLED_AFTER
    last = [point for point in seen if now - point["at"] <= STALLED_AFTER]
    return is_long_enough and all(point["lag"] and point["rate"] == 0 for point in last) and bool(last)


def _lag(partitions: Sequence[Document]) -> int | None:
    lags = [found["lag"] for found in partitions]
    return None if not lags or None in lags else sum(lags)


def _lag_seconds(partitions: Sequence[Document]) -> tuple[float | None, bool]:
    """The age of the oldest record of all, and whether it is only a bound."""
    ages = [age_at_most(found) for found in partitions]
    if not ages or None in ages:
        return None, False
    oldest = max(ages)
    return oldest, oldest not in [found["lag_seconds"] for found in partitions]


def age_at_most(reported: Document) -> Any:
    """Return the age of the oldest record that is not settled, or a bound of it; None if neither is known."""
    known = reported.get("lag_seconds")
    return reported.get("lag_seconds_at_most") if known is None else known


def _sum(numbers: Iterable[Any]) -> Any:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _latency(workers: Sequence[Document]) -> Mapping[int, float | None]:
    reported = [found["latency"]["counts"] for found in workers if found["latency"]["bounds_ms"] == list(BOUNDS_MS)]
    merged = Histogram(counts=tuple(map(sum, zip(*reported, strict=True))) or (0.0,) * (len(BOUNDS_MS) + 1))
    return {share: merged.percentile(share / 100) for share in (50, 95, 99)}


def _worker(found: Document, now: datetime) -> Worker:
    age = now - found["at"]
    name = str(found["_id"]).removeprefix("worker:")
    return Worker(
        name=name,
        age=age,
        running_for=found["at"] - found["started_at"] if "started_at" in found else None,
        partitions=found["partitions"],
        rate=found["rate"],
        memory_bytes=found.get("memory_bytes"),
        is_gone=age > GONE_AFTER,
    )
