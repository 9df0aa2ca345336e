"""The newest snapshot of each range, shared by all visitors, kept through an outage and marked as what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from dashboard import compute
from dashboard.timeplan import RANGES, Range, window
from dashboard.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.reader import Reader
    from dashboard.snapshot import Overview, Snapshot

# Younger than this is not read again, so that many visitors cost as much as one.
FRESH_FOR = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of a range now; a trouble says why it is not newer."""

    at: datetime
    snapshot: Snapshot | None = None
    overview: Overview | None = None
    trouble: Trouble | None = None

    @property
    def is_empty(self) -> bool:
        """MongoDB was asked, and holds no event at all."""
        return self.trouble is None and self.overview is None


@dataclass(slots=True)
class _Slot:
    lock: Lock = field(default_factory=Lock)
    reading: Reading | None = None


class Feed:
    """Asks the reader at most once per range and moment, whatever the number of visitors."""

    def __init__(self, *, reader: Reader, clock: Callable[[], datetime]) -> None:
        self._reader = reader
        self._clock = clock
        self._slots = {chosen.key: _Slot() for chosen in RANGES}

    def latest(self, chosen: Range) -> Reading:
        """Return the newest reading of the range; troubles of MongoDB are in it, not raised."""
        slot = self._slots[chosen.key]
        with slot.lock:
            if slot.reading is None or self._clock() >= _stale_at(slot.reading):
                slot.reading = self._read(chosen, slot.reading)
            return slot.reading

    def now(self) -> datetime:
        """Return the present by the feed's clock."""
        return self._clock()

    def _read(self, chosen: Range, before: Reading | None) -> Reading:
        overview = before.overview if before else None
        try:
            overview = self._reader.overview()
            snapshot = None if overview is None else self._snapshot(chosen, overview)
        except Trouble as trouble:
            last_good = before.snapshot if before else None
            # Without its traceback, which would keep this frame, and so every reading before it, alive.
            trouble = trouble.with_traceback(None)
            return Reading(at=self._clock(), snapshot=last_good, overview=overview, trouble=trouble)
        return Reading(at=self._clock(), snapshot=snapshot, overview=overview)

    def _snapshot(self, chosen: Range, overview: Overview) -> Snapshot:
        now = self._clock()
        shown = window(chosen, now)
        counts = self._reader.counts(shown)
        return compute.snapshot(chosen=chosen, window=shown, read_at=now, overview=overview, counts=counts)


def _stale_at(reading: Reading) -> datetime:
    if reading.trouble is None:
        return reading.at + FRESH_FOR
    return reading.at + timedelta(seconds=reading.trouble.retry_after_seconds)
