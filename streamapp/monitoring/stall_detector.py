"""Detect stalled partitions: records that wait while none is settled, settled offsets that stay uncommitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamapp.transport.offset_tracker import Progress

#: A partition without progress for longer, in seconds, is stalled. A commit is made every second and takes up to three.
STALLED_AFTER_SECONDS = 10.0
#: An observation that is older, in seconds, says nothing about now.
OBSERVATION_VALID_SECONDS = 5.0

_Key = tuple[str, int, str | None]


@dataclass(slots=True)
class _LastProgress:
    """An offset that should advance, and since when it has not."""

    offset: int
    since: float


@dataclass(slots=True)
class StallDetector:
    """Remembers since when each partition makes no progress, from observations a few seconds apart.

    All instants are seconds of one monotonic clock.
    """

    _observed_at: float | None = None
    _settled: dict[_Key, _LastProgress] = field(default_factory=dict[_Key, _LastProgress])
    _committed: dict[_Key, _LastProgress] = field(default_factory=dict[_Key, _LastProgress])

    def observe(self, partitions: Iterable[Progress], now: float) -> None:
        """Record the progress of all assigned partitions."""
        if self._observed_at is not None and now - self._observed_at > OBSERVATION_VALID_SECONDS:
            # The process or its event loop was stopped. Nothing could advance in that time, so it does not count.
            self._settled, self._committed = {}, {}
        self._observed_at = now
        settled, committed = _settled(partitions := [*partitions]), _committed(partitions)
        self._settled = {key: _progress(self._settled.get(key), offset, now) for key, offset in settled.items()}
        self._committed = {key: _progress(self._committed.get(key), offset, now) for key, offset in committed.items()}

    def settling(self, now: float) -> str:
        """`ok`, or the partition that has waiting records and settles none."""
        return self._state(self._settled, "records wait at offset {}, and none was settled for {:.0f} s", now)

    def commits(self, now: float) -> str:
        """`ok`, or the partition whose settled offsets are not committed."""
        return self._state(
            self._committed, "the committed offset is still {} after {:.0f} s, but later offsets are settled", now
        )

    def _state(self, last_progress: Mapping[_Key, _LastProgress], text: str, now: float) -> str:
        if self._observed_at is None:
            return "not checked yet"
        if now - self._observed_at > OBSERVATION_VALID_SECONDS:
            return f"not checked for {now - self._observed_at:.0f} s"
        stalled = {key: last for key, last in last_progress.items() if now - last.since > STALLED_AFTER_SECONDS}
        if not stalled:
            return "ok"
        (_, partition, _), last = min(stalled.items(), key=lambda item: item[1].since)
        more = f" (and {len(stalled) - 1} more partitions)" if len(stalled) > 1 else ""
        return f"partition {partition}: {text.format(last.offset, now - last.since)}{more}"


def _progress(before: _LastProgress | None, offset: int, now: float) -> _LastProgress:
    return before if before is not None and before.offset == offset else _LastProgress(offset, now)


def _settled(partitions: Iterable[Progress]) -> dict[_Key, int]:
    """The settled offset of each partition with records to settle; records of an open transaction do not count."""
    return {
        each.key: each.settled
        for each in partitions
        if each.settled is not None and each.stable_end is not None and each.stable_end > each.settled
    }


def _committed(partitions: Iterable[Progress]) -> dict[_Key, int]:
    """The committed offset of each partition that has settled later offsets."""
    return {
        each.key: each.committed or 0
        for each in partitions
        if each.settled is not None and each.settled != (each.committed or 0)
    }
