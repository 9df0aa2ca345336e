"""The widths of the buckets in which events are counted, and how long each is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

#: Before all times that a Date can hold.
_EVER = -(2**63)


class Level(NamedTuple):
    """One of the widths that buckets have."""

    name: str
    width: timedelta

    @property
    def collection(self) -> str:
        """Where its documents are."""
        return f"rollups_{self.name}"

    @property
    def width_ms(self) -> int:
        """Milliseconds of one bucket."""
        return self.width // timedelta(milliseconds=1)

    def start_of(self, at_ms: int) -> int:
        """The start of the bucket that holds the instant; both in epoch ms."""
        return at_ms // self.width_ms * self.width_ms


#: From the finest on; each bucket of one lies in one bucket of the next.
LEVELS = (
    Level("1m", timedelta(minutes=1)),
    Level("10m", timedelta(minutes=10)),
    Level("1h", timedelta(hours=1)),
    Level("1d", timedelta(days=1)),
)


#: How long the rollups of each level are kept; None is for ever.
Keep = Mapping[Level, timedelta | None]


def kept_since(level: Level, keep: Keep, now: datetime) -> int:
    """The start of the oldest bucket that is counted at a level, epoch ms; those before it are deleted."""
    kept = keep.get(level)
    return _EVER if kept is None else level.start_of(int((now - kept).timestamp() * 1000)) + level.width_ms
