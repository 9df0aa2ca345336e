"""What Kafka tells of its topics."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from streamapp.broker import Broker


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("J287Vgn7R/as2BYzKvgC+w", "J287Vgn7R_as2BYzKvgC-w"),
        ("OeCM9eLtSVuj9YrtNq4ZGg", "OeCM9eLtSVuj9YrtNq4ZGg"),
        ("AAAAAAAAAAAAAAAAAAAAAA", None),
    ],
)
def test_incarnations_are_base64url(told: str, expected: str | None) -> None:
    """As Kafka's own tools write them; a broker without topic ids tells of zero bytes."""
    broker = Broker("127.0.0.1:1")
    answer: Future[SimpleNamespace] = Future()
    answer.set_result(SimpleNamespace(topic_id=told))
    broker._admin = SimpleNamespace(describe_topics=lambda *_, **__: {"user_events": answer})

    assert expected == asyncio.run(broker.incarnation_of("user_events"))
