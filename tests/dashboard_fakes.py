"""A Reader over plain documents, and documents to give to it; counts them one by one, without an aggregation."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from dashboard.snapshot import Counts, Overview
from dashboard.timeplan import bucket_start, from_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboard.timeplan import Window
    from dashboard.trouble import Trouble

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)

_offsets = count()


def document(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """Return an event's document as the worker stores it, with what the test cares about changed."""
    offset = next(_offsets)
    v2 = {
        "_id": f"AAAAAAAAAAAAAAAAAAAAAA-0-{offset}",
        "user_id": "user-1",
        "event_type": "click",
        "event_timestamp": to_ms(at),
        "metadata": {"device": "mobile", "location": "DE"},
        "browser": "firefox",
        "schema_version": "v2",
        "schema_id": 2,
        "received_at": at,
        "kafka": {"topic": "user_events", "partition": 0, "offset": offset, "timestamp": at},
    }
    return {**v2, **changes}


def v1(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """Return the document of an event with the schema that has no browser."""
    return document(at, **{"schema_version": "v1", "schema_id": 1, "browser": None, **changes})


class FakeReader:
    """A Reader that answers from a list, or with the trouble that it is given."""

    def __init__(self, documents: Iterable[dict[str, Any]] = (), *, v2_version: int = 2) -> None:
        self.documents = list(documents)
        self.v2_version = v2_version
        self.trouble: Trouble | None = None
        self.trouble_of_counts: Trouble | None = None
        self.reads = 0

    def overview(self) -> Overview | None:
        """Return what is known of the whole list."""
        self.reads += 1
        if self.trouble:
            raise self.trouble
        if not self.documents:
            return None
        return Overview(
            all_time=len(self.documents),
            all_time_is_exact=True,
            last_received_at=self.documents[-1].get("received_at"),
            newest_event_at=from_ms(max(found["event_timestamp"] for found in self.documents)),
            v2_version=self.v2_version,
        )

    def counts(self, window: Window) -> Counts:
        """Return the documents of the window, counted."""
        if self.trouble_of_counts:
            raise self.trouble_of_counts
        inside = [d for d in self.documents if to_ms(window.start) <= d["event_timestamp"] < to_ms(window.end)]
        version = "schema_version"
        return Counts(
            by_bucket=Counter((_bucket(d, window), d.get(version)) for d in inside),
            by_type=Counter(d.get("event_type") for d in inside),
            by_browser=Counter((d.get("browser"), d.get(version)) for d in inside),
            by_device=Counter(d.get("metadata", {}).get("device") for d in inside),
            users=len({d.get("user_id") for d in inside}),
        )


def _bucket(found: dict[str, Any], window: Window) -> datetime:
    return bucket_start(from_ms(found["event_timestamp"]), window.width)
