"""The batches of a partition have their turn one after the other."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.errors import AssignmentLost
from streamapp.sink.partition_order import PartitionOrder, Turn
from tests.support.factories import a_batch, a_record


def a_turn(order: PartitionOrder, assignment: int = 0) -> Turn:
    """Queue up a batch."""
    return order.queue_up(a_batch(a_record(), assignment=assignment))


def test_a_batch_has_its_turn_after_the_batch_before_it() -> None:
    """And not earlier."""

    async def scenario() -> None:
        order = PartitionOrder()
        first, second = a_turn(order), a_turn(order)
        waiting = asyncio.create_task(second.wait_turn())
        await asyncio.sleep(0)
        assert not waiting.done()
        await first.wait_turn()
        first.end()
        first.give_up()  # no effect
        await waiting

    asyncio.run(scenario())


def test_after_a_batch_is_given_up_no_later_batch_of_its_assignment_has_its_turn() -> None:
    """Batches of the next assignment have theirs; then batches of the old assignment are refused."""

    async def scenario() -> None:
        order = PartitionOrder()
        a_turn(order).give_up()
        with pytest.raises(AssignmentLost):
            await a_turn(order).wait_turn()
        await a_turn(order, assignment=1).wait_turn()
        with pytest.raises(AssignmentLost):
            a_turn(order)

    asyncio.run(scenario())


def test_a_batch_that_is_cancelled_while_it_waits_is_cancelled() -> None:
    """The end of the worker must not look like a lost assignment."""

    async def scenario() -> None:
        order = PartitionOrder()
        a_turn(order)
        waiting = asyncio.create_task(a_turn(order).wait_turn())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
