"""Use uvloop as the event loop, and make aiokafka handle the errors that only uvloop raises."""

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
    """Use uvloop if it is installed, unless `--loop` or FAUST_LOOP selects another loop."""
    if "FAUST_LOOP" not in os.environ:  # Faust sets it for --loop, too.
        with suppress(ImportError):
            loops.use("uvloop")
    for name in ("send", "_send_sasl_token"):
        setattr(AIOKafkaConnection, name, _with_reset_error(getattr(AIOKafkaConnection, name)))


def _with_reset_error(send: Callable[..., Any]) -> Callable[..., Any]:
    """Raise aiokafka's own error where uvloop raises RuntimeError: when the broker has reset the connection.

    asyncio's own loop drops the bytes instead. aiokafka does not handle the RuntimeError (its issue 1038): the sending
    coroutine would end, and its callers would wait for ever.
    """

    @wraps(send)
    def send_or_close(connection: AIOKafkaConnection, *args: Any, **values: Any) -> Any:
        try:
            return send(connection, *args, **values)
        except RuntimeError as exc:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {exc}") from exc

    return send_or_close
