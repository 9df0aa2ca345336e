"""Our codec as Faust's topics take one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import faust

if TYPE_CHECKING:
    from streamapp.decode.wire_format import EventCodec
    from streamapp.model.event import Event


class FaustCodec(faust.Codec):
    """`dumps` and `loads` of events; what Faust makes of it by `|` or `clone` shares them.

    Args:
        events: tells the codec, once an event is read or written.
        kwargs: Faust's.
    """

    def __init__(self, events: Callable[[], EventCodec], **kwargs: Any) -> None:
        super().__init__(events=events, **kwargs)
        self._events = events

    def _dumps(self, s: Event) -> bytes:
        return self._events().dumps(s)

    def _loads(self, s: bytes) -> Event:
        return self._events().loads(s)
