"""uvloop in place of asyncio's own loop, and what aiokafka does not know of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from mode import loop as loops


def choose() -> None:
    """Take uvloop where there is one, unless `--loop` or FAUST_LOOP asks for another."""
    if "FAUST_LOOP" not in os.environ:  # which Faust makes of --loop
        with suppress(ImportError):
            loops.use("uvloop")
    for name in ("send", "_send_sasl_token"):
        setattr(AIOKafkaConnection, name, _told_of_resets(getattr(AIOKafkaConnection, name)))


def _told_of_resets(send: Callable[..., Any]) -> Callable[..., Any]:
    """Make a reset connection the error that aiokafka expects: uvloop raises its own, where asyncio drops the bytes.

    aiokafka's issue 1038: otherwise the coroutine that sends would end, and whoever waits for it would wait for ever.
    """

    @wraps(send)
    def told(connection: AIOKafkaConnection, *args: Any, **values: Any) -> Any:
        try:
            return send(connection, *args, **values)
        except RuntimeError as exc:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {exc}") from exc

    return told
