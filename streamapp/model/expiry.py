"""Which events MongoDB may have deleted because of their age; see `streamapp.mongodb.event_retention`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

#: The field whose age counts: when a worker received the event.
RECEIVED_AT = "received_at"
#: The name of the TTL index that the worker creates and drops.
INDEX = "retention"
#: The clocks of workers and of MongoDB may differ by this.
CLOCK_TOLERANCE = timedelta(hours=1)

#: Before every time that a BSON date can hold.
_BEGINNING = -(2**63)


class Expiry(NamedTuple):
    """What MongoDB deletes because of the age of events, and what it deleted by earlier retentions."""

    #: The retention in force; None for ever.
    retention: timedelta | None = None
    #: Events received before it may have been deleted by an earlier, shorter retention.
    deleted_before: datetime | None = None

    def before(self, now: datetime) -> datetime | None:
        """Events received before this instant may have been deleted; None: none may."""
        current = now - self.retention if self.retention else None
        horizon = max((each for each in (current, self.deleted_before) if each), default=None)
        return horizon and horizon + CLOCK_TOLERANCE

    def before_ms(self, now: datetime) -> int:
        """`before` in epoch ms; before every time if no event may have been deleted."""
        horizon = self.before(now)
        return _BEGINNING if horizon is None else int(horizon.timestamp() * 1000)
