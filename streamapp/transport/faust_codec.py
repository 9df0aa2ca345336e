"""Make the event codec available to Faust's topics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import faust

if TYPE_CHECKING:
    from streamapp.decode.wire_format import EventCodec
    from streamapp.model.event import Event


class FaustCodec(faust.Codec):
    """`dumps` and `loads` of events, as a Faust codec.

    Args:
        events: returns the event codec; called when the first event is read or written.
        kwargs: arguments of Faust's codec.
    """

    def __init__(self, events: Callable[[], EventCodec], **kwargs: Any) -> None:
        super().__init__(events=events, **kwargs)
        self._events = events

    def _dumps(self, s: Event) -> bytes:
        return self._events().dumps(s)

    def _loads(self, s: bytes) -> Event:
        return self._events().loads(s)
