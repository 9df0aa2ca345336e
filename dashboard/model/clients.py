"""Who sends events: the headers of their records that are stored, counted; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dashboard.model.time_window import from_ms
from streamapp.model.stored_headers import header_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

#: Rows of the table, those with the last events.
MOST_CLIENTS = 50


#: The headers of an event: names and values.
Headers = tuple[tuple[str, str], ...]
#: The field that has them.
FIELD = "kafka.headers"


class Client(NamedTuple):
    """Events whose records have the same headers."""

    #: Name → value.
    headers: Mapping[str, str]
    n: int
    last_at: datetime


def clients(sent: Iterable[tuple[Headers, int]]) -> Sequence[Client]:
    """Return the clients of events, the one with the last event first, given the headers and the time (ms) of each.

    Events without headers do not count.
    """
    counts, last = Counter[Headers](), dict[Headers, int]()
    for headers, at_ms in sent:
        if headers:
            counts[headers] += 1
            last[headers] = max(last.get(headers, 0), at_ms)
    newest = sorted(counts, key=lambda headers: (-last[headers], headers))[:MOST_CLIENTS]
    return [Client(dict(headers), counts[headers], from_ms(last[headers])) for headers in newest]


def headers_of(event: Mapping[str, Any]) -> Headers:
    """Return the headers of an event, none if it has none; other programs may have stored anything there."""
    kafka = event.get("kafka")
    headers = cast("Mapping[str, Any]", kafka).get("headers") if isinstance(kafka, dict) else None
    if not isinstance(headers, dict):
        return ()
    return tuple((header_name(name), str(value)) for name, value in cast("dict[str, Any]", headers).items())
