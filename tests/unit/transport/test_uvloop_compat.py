"""A connection that the broker resets is an error of Kafka's on every event loop."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from streamapp.transport import uvloop_compat

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_MORE_THAN_ENOUGH = 1_000


def test_a_connection_that_was_reset_is_told_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop raises an error of its own, which would end aiokafka's routines."""
    monkeypatch.setenv("FAUST_LOOP", "aio")
    for name in ("send", "_send_sasl_token"):
        monkeypatch.setattr(AIOKafkaConnection, name, getattr(AIOKafkaConnection, name))
    uvloop_compat.choose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(KafkaConnectionError) as told:
        runner.run(_send_into_a_reset())

    assert isinstance(told.value.__cause__, RuntimeError)


async def _send_into_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        connection = AIOKafkaConnection(host, port)
        connection._reader, connection._writer = await asyncio.open_connection(host, port)
        connection._read_task = asyncio.create_task(asyncio.Event().wait())
        peer, _ = server.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    peer.close()
    for _ in range(_MORE_THAN_ENOUGH):
        connection.send(MetadataRequest([]), expect_response=False).close()
        await asyncio.sleep(0)
