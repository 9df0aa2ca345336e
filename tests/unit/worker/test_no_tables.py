"""The start of Faust's table manager in an app without tables."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Never

import faust

import streamapp
from streamapp.worker.no_tables import NoTables


def test_worker_has_no_tables() -> None:
    """With a table, agents would need time to define it before the consumer subscribes."""
    app = streamapp.app

    assert (NoTables, {}) == (app.conf.TableManager, dict(app.tables))


def test_consumer_may_subscribe_without_a_pause() -> None:
    """Faust would wait for a second; the service that resumes partitions after a rebalance runs."""

    async def pause(_: object) -> Never:
        raise AssertionError

    async def start() -> bool:
        app = faust.App("without-tables", TableManager=NoTables, store="memory://")
        app.consumer = SimpleNamespace(assignment=set, pause_partitions=lambda _: None)  # pyright: ignore[reportAttributeAccessIssue]
        manager: Any = app.tables
        manager.sleep = pause
        await manager.on_start()
        await asyncio.wait_for(manager.wait_until_tables_registered(), timeout=120)
        is_started = manager.recovery.started
        await manager.recovery.stop()
        return is_started

    assert asyncio.run(start())
