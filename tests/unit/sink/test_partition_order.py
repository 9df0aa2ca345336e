"""Batches of a partition take turns."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.errors import AssignmentLost
from streamapp.sink.partition_order import PartitionOrder, Turn
from tests.support.factories import a_batch, a_record


def a_turn(turns: PartitionOrder, assignment: int = 0) -> Turn:
    """Queue a batch up."""
    return turns.queue_up(a_batch(a_record(), assignment=assignment))


def test_a_turn_comes_when_the_one_before_it_is_over() -> None:
    """And not before."""

    async def scenario() -> None:
        turns = PartitionOrder()
        first, second = a_turn(turns), a_turn(turns)
        waiting = asyncio.create_task(second.wait_turn())
        await asyncio.sleep(0)
        assert not waiting.done()
        await first.wait_turn()
        first.end()
        first.give_up()  # too late to matter
        await waiting

    asyncio.run(scenario())


def test_after_one_that_is_given_up_none_of_its_assignment_comes() -> None:
    """The next assignment begins again, and nothing of the old one comes after that."""

    async def scenario() -> None:
        turns = PartitionOrder()
        a_turn(turns).give_up()
        with pytest.raises(AssignmentLost):
            await a_turn(turns).wait_turn()
        await a_turn(turns, assignment=1).wait_turn()
        with pytest.raises(AssignmentLost):
            a_turn(turns)

    asyncio.run(scenario())


def test_a_batch_that_is_cancelled_while_it_waits_is_cancelled() -> None:
    """Nobody must take the end of the worker for the loss of an assignment."""

    async def scenario() -> None:
        turns = PartitionOrder()
        a_turn(turns)
        waiting = asyncio.create_task(a_turn(turns).wait_turn())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
