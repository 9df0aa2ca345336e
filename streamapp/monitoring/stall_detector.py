"""Notice what stands still: records that wait and are not settled, offsets that are settled and not committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamapp.transport.offset_tracker import Progress

#: A partition may stand still so long, in seconds: commits come every second, and take three at the most.
STILL_FOR = 10.0
#: A look that is older tells nothing.
LOOKED_WITHIN = 5.0

_Key = tuple[str, int, str | None]


@dataclass(slots=True)
class _LastProgress:
    """An offset that should move, and since when it does not."""

    offset: int
    since: float


@dataclass(slots=True)
class StallDetector:
    """Remembers of each partition since when it stands still, by looks that are at most a few seconds apart.

    All instants are of one monotonic clock, in seconds.
    """

    _looked_at: float | None = None
    _settling: dict[_Key, _LastProgress] = field(default_factory=dict[_Key, _LastProgress])
    _commits: dict[_Key, _LastProgress] = field(default_factory=dict[_Key, _LastProgress])

    def look(self, partitions: Iterable[Progress], now: float) -> None:
        """Note how far each partition is that is held."""
        if self._looked_at is not None and now - self._looked_at > LOOKED_WITHIN:
            # The process was stopped, or its loop held up: that was no time in which anything could move.
            self._settling, self._commits = {}, {}
        self._looked_at = now
        settling, commits = _settling(partitions := [*partitions]), _commits(partitions)
        self._settling = {key: _still(self._settling.get(key), offset, now) for key, offset in settling.items()}
        self._commits = {key: _still(self._commits.get(key), offset, now) for key, offset in commits.items()}

    def settling(self, now: float) -> str:
        """`ok`, or which partition has records that wait."""
        return self._state(self._settling, "records wait at offset {}, and none is settled for {:.0f} s", now)

    def commits(self, now: float) -> str:
        """`ok`, or which partition has settled more than is committed."""
        return self._state(self._commits, "more is settled than the committed offset {}, for {:.0f} s", now)

    def _state(self, last_seen: Mapping[_Key, _LastProgress], what: str, now: float) -> str:
        if self._looked_at is None:
            return "not looked at yet"
        if now - self._looked_at > LOOKED_WITHIN:
            return f"not looked at for {now - self._looked_at:.0f} s"
        still = {key: stand for key, stand in last_seen.items() if now - stand.since > STILL_FOR}
        if not still:
            return "ok"
        (_, partition, _), stand = min(still.items(), key=lambda item: item[1].since)
        more = f", and {len(still) - 1} more" if len(still) > 1 else ""
        return f"partition {partition}: {what.format(stand.offset, now - stand.since)}{more}"


def _still(before: _LastProgress | None, offset: int, now: float) -> _LastProgress:
    return before if before is not None and before.offset == offset else _LastProgress(offset, now)


def _settling(partitions: Iterable[Progress]) -> dict[_Key, int]:
    """The settled offsets of those that have records to settle; what an open transaction holds back does not wait."""
    return {
        each.key: each.settled
        for each in partitions
        if each.settled is not None and each.stable_end is not None and each.stable_end > each.settled
    }


def _commits(partitions: Iterable[Progress]) -> dict[_Key, int]:
    """The committed offsets of those that have settled more."""
    return {
        each.key: each.committed or 0
        for each in partitions
        if each.settled is not None and each.settled != (each.committed or 0)
    }
