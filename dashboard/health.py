"""From what the workers wrote about themselves to the pipeline's health; pure, and what is not known is None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from streamapp.latency import BOUNDS_MS, Histogram

LIVE_FOR = timedelta(seconds=10)
#: A worker that has not written for so long is gone.
GONE_AFTER = timedelta(seconds=15)
STALLED_AFTER = timedelta(seconds=30)
TREND_STEP = timedelta(seconds=10)

Document = Mapping[str, Any]


class Status(StrEnum):
    """How the pipeline is."""

    LIVE = "live"
    IDLE = "idle"
    STALLED = "stalled"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was read: documents as streamapp/heartbeat.py and streamapp/store.py write them."""

    partitions: Sequence[Document] = ()
    workers: Sequence[Document] = ()
    #: One per reason.
    dead_letters: Sequence[Document] = ()
    schemas: Sequence[Document] = ()
    has_events: bool = False
    last_received_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker by its last heartbeat."""

    name: str
    age: timedelta
    partitions: int
    is_gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that the page tells of the pipeline."""

    status: Status
    why: str
    last_event_age: timedelta | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    rate: float | None = None
    duplicates: int | None = None
    dead_letters: int | None = None
    #: Milliseconds by percentile.
    latency: Mapping[int, float | None]
    lag_trend: tuple[int, ...] = ()
    rate_trend: tuple[float, ...] = ()
    workers: tuple[Worker, ...] = ()


def unknown(why: str) -> Health:
    """Return the health of a pipeline of which nothing could be read."""
    return Health(status=Status.UNKNOWN, why=why, latency=dict.fromkeys((50, 95, 99)))


def health(written: Written, now: datetime) -> Health:
    """Return the pipeline's health at an instant."""
    partitions = _present(written.partitions)
    workers = tuple(_worker(found, now) for found in written.workers)
    fresh = [found for found in written.workers if now - found["at"] <= GONE_AFTER]
    status, why = _status(written, partitions, now)
    return Health(
        status=status,
        why=why,
        last_event_age=now - written.last_received_at if written.last_received_at else None,
        lag=_lag(partitions),
        lag_seconds=_lag_seconds(partitions),
        rate=_sum(found["rate"] for found in fresh),
        duplicates=_sum(found["fates"]["duplicates"] for found in written.workers),
        dead_letters=sum(found["n"] for found in written.dead_letters),
        latency=_latency(fresh),
        lag_trend=tuple(map(int, _trend(partitions, "lag"))),
        rate_trend=_trend(partitions, "rate"),
        workers=tuple(sorted(workers, key=lambda worker: worker.age)),
    )


def _present(partitions: Sequence[Document]) -> list[Document]:
    """Only of the topic's newest life: those of earlier ones stay until they are deleted."""
    newest = max(partitions, key=lambda found: found["at"], default=None)
    return [found for found in partitions if newest and found["incarnation"] == newest["incarnation"]]


def _status(written: Written, partitions: Sequence[Document], now: datetime) -> tuple[Status, str]:
    lag = _lag(partitions)
    is_fresh = bool(partitions) and all(now - found["at"] <= GONE_AFTER for found in partitions)
    if lag and not is_fresh:
        return Status.STALLED, "Events are waiting, and no worker has told of some partition for 15 s."
    if any(_stands_still(found, now) for found in partitions):
        return Status.STALLED, "Events are waiting in a partition where nothing has been settled for 30 s."
    if written.last_received_at and now - written.last_received_at < LIVE_FOR:
        return Status.LIVE, "Events are coming in."
    if not written.has_events and not lag:
        return Status.WAITING, "No event has been stored yet."
    if not is_fresh or lag is None:
        return Status.UNKNOWN, "No worker tells how far it is: events may be waiting in Kafka."
    return (Status.LIVE, "The worker is catching up.") if lag else (Status.IDLE, "Everything sent has been stored.")


def _stands_still(partition: Document, now: datetime) -> bool:
    seen = [point for point in partition["recent"] if now - point["at"] <= STALLED_AFTER + GONE_AFTER]
    is_long_enough = bool(seen) and now - seen[0]["at"] >= STALLED_AFTER
    last = [point for point in seen if now - point["at"] <= STALLED_AFTER]
    return is_long_enough and all(point["lag"] and point["rate"] == 0 for point in last) and bool(last)


def _lag(partitions: Sequence[Document]) -> int | None:
    lags = [found["lag"] for found in partitions]
    return None if not lags or None in lags else sum(lags)


def _lag_seconds(partitions: Sequence[Document]) -> float | None:
    ages = [found["lag_seconds"] for found in partitions]
    return None if not ages or None in ages else max(ages)


def _sum(numbers: Iterable[Any]) -> Any:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _latency(workers: Sequence[Document]) -> Mapping[int, float | None]:
    told = [found["latency"]["counts"] for found in workers if found["latency"]["bounds_ms"] == list(BOUNDS_MS)]
    merged = Histogram(counts=tuple(map(sum, zip(*told, strict=True))) or (0.0,) * (len(BOUNDS_MS) + 1))
    return {share: merged.percentile(share / 100) for share in (50, 95, 99)}


def _trend(partitions: Sequence[Document], name: str) -> tuple[float, ...]:
    """Sum over all partitions, one number per step of which every partition tells."""
    steps: dict[int, dict[int, float]] = {}
    for found in partitions:
        for point in found["recent"]:
            if point[name] is not None:
                step = int(point["at"].timestamp() // TREND_STEP.total_seconds())
                steps.setdefault(step, {})[found["partition"]] = point[name]
    return tuple(sum(told.values()) for _, told in sorted(steps.items()) if len(told) == len(partitions))


def _worker(found: Document, now: datetime) -> Worker:
    age = now - found["at"]
    name = str(found["_id"]).removeprefix("worker:")
    return Worker(name=name, age=age, partitions=found["partitions"], is_gone=age > GONE_AFTER)
