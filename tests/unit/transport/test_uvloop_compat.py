"""A connection that the broker resets raises aiokafka's error on every event loop."""

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
_MAX_SENDS = 1_000


def test_sending_on_a_reset_connection_raises_a_kafka_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop raises RuntimeError, which would end aiokafka's background tasks."""
    monkeypatch.setenv("FAUST_LOOP", "aio")
    for name in ("send", "_send_sasl_token"):
        monkeypatch.setattr(AIOKafkaConnection, name, getattr(AIOKafkaConnection, name))
    uvloop_compat.choose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(KafkaConnectionError) as caught:
        runner.run(_send_into_a_reset())

    assert isinstance(caught.value.__cause__, RuntimeError)


async def _send_into_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        connection = AIOKafkaConnection(host, port)
        connection._reader, connection._writer = await asyncio.open_connection(host, port)
        connection._read_task = asyncio.create_task(asyncio.Event().wait())
        peer, _ = server.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    peer.close()
    for _ in range(_MAX_SENDS):
        connection.send(MetadataRequest([]), expect_response=False).close()
        await asyncio.sleep(0)
