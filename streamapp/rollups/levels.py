"""The levels of the rollups: the widths of their buckets, and their retention."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

#: Before every time that a BSON date can hold.
_BEGINNING = -(2**63)


class Level(NamedTuple):
    """A bucket width and its name."""

    name: str
    width: timedelta

    @property
    def collection(self) -> str:
        """The collection of its rollups."""
        return f"rollups_{self.name}"

    @property
    def width_ms(self) -> int:
        """The width in milliseconds."""
        return self.width // timedelta(milliseconds=1)

    def start_of(self, at_ms: int) -> int:
        """The start of the bucket that holds the time; both in epoch ms."""
        return at_ms // self.width_ms * self.width_ms


#: From the narrowest to the widest; each bucket lies within one bucket of the next level.
LEVELS = (
    Level("1m", timedelta(minutes=1)),
    Level("10m", timedelta(minutes=10)),
    Level("1h", timedelta(hours=1)),
    Level("1d", timedelta(days=1)),
)


#: The retention of the rollups of each level; None means for ever.
Keep = Mapping[Level, timedelta | None]


def kept_since(level: Level, keep: Keep, now: datetime) -> int:
    """The start of the oldest bucket within the retention of a level, epoch ms; MongoDB deletes earlier buckets."""
    kept = keep.get(level)
    return _BEGINNING if kept is None else level.start_of(int((now - kept).timestamp() * 1000)) + level.width_ms
