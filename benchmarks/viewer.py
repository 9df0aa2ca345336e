"""A viewer of the page without a browser: Streamlit's messages over its websocket, as a browser sends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.visits import Visit

#: The page's own limit for a query is shorter.
ANSWER_WITHIN_SECONDS = 30.0
_WELL = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
_BAD = (Alert.ERROR, Alert.WARNING)


class BrokenPage(Exception):  # noqa: N818 - what it is
    """The page did not show what it must show: the figures are not valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The messages of one run of the page, and its duration from the request to the end of the script."""

    seconds: float
    messages: Sequence[ForwardMsg]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(message.ByteSize() for message in self.messages)

    def check(self, visit: Visit) -> None:
        """Check that the page shows the visit's text, and no error.

        Raises:
            BrokenPage: it does not.
        """
        if wrong := [each for each in self._elements() if each.HasField("exception") or each.alert.format in _BAD]:
            raise BrokenPage(f"{visit.name}: the page shows an error: {wrong}")
        if not any(visit.shows.encode() in message.SerializeToString() for message in self.messages):
            raise BrokenPage(f"{visit.name}: the page does not show {visit.shows!r}")

    def total(self) -> str:
        """The number of events on the first card."""
        cards = [each.metric.body for each in self._elements() if each.metric.label == "Total events"]
        if len(cards) != 1:
            raise BrokenPage(f"cards with the number of events: {cards}")
        return cards[0]

    def has_total(self, n: int) -> bool:
        """Whether the number of events on the first card is this one, or a bound that holds for it."""
        mark, _, digits = self.total().rpartition(" ")
        shown = int(digits.replace(",", ""))
        return {"": shown == n, "≥": shown <= n, "≤": shown >= n}[mark]

    def _elements(self) -> Sequence[Element]:
        return [message.delta.new_element for message in self.messages if message.HasField("delta")]


class Viewer:
    """A tab with the page in it."""

    def __init__(self, connection: ClientConnection, query: str) -> None:
        self._connection = connection
        self._query = query
        self._fragment = ""

    async def open(self) -> Shown:
        """Request the whole page."""
        shown = await self._ask(BackMsg())
        (self._fragment,) = {m.auto_rerun.fragment_id for m in shown.messages if m.HasField("auto_rerun")}
        return shown

    async def refresh(self) -> Shown:
        """Request the live part again, as the browser's timer does."""
        request = BackMsg()
        request.rerun_script.fragment_id = self._fragment
        request.rerun_script.is_auto_rerun = True
        return await self._ask(request)

    async def _ask(self, request: BackMsg) -> Shown:
        request.rerun_script.query_string = self._query
        data = request.SerializeToString()
        began = time.perf_counter()
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            await self._connection.send(data)
            messages = await self._until_finished()
        return Shown(seconds=time.perf_counter() - began, messages=messages)

    async def _until_finished(self) -> Sequence[ForwardMsg]:
        messages: list[ForwardMsg] = []
        while True:
            message = ForwardMsg.FromString(await self._connection.recv(decode=False))
            messages.append(message)
            if message.HasField("script_finished"):
                if message.script_finished not in _WELL:
                    raise BrokenPage(f"the page's script ended with {message.script_finished}")
                return messages


@asynccontextmanager
async def viewer(port: int, chosen: Mapping[str, str | Sequence[str]]) -> AsyncGenerator[Viewer]:
    """Open a tab on the page of a port, with the choices in its address."""
    url = f"ws://127.0.0.1:{port}/_stcore/stream"
    async with connect(url, subprotocols=["streamlit"], max_size=None, ping_interval=None) as connection:  # pyright: ignore[reportArgumentType]
        yield Viewer(connection, urlencode(chosen, doseq=True))
