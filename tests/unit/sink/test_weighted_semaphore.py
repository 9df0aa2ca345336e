"""Room for so many, first come, first served."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.sink.weighted_semaphore import WeightedSemaphore


class Guests:
    """Enter a room, and stay until they are asked to leave."""

    def __init__(self, size: int) -> None:
        self.room = WeightedSemaphore(size)
        self.inside: list[int] = []
        self._leave: dict[int, asyncio.Event] = {}

    def wait_turn(self, amount: int) -> asyncio.Task[None]:
        """Let one come who takes so much."""
        return asyncio.create_task(self._stay(amount))

    async def _stay(self, amount: int) -> None:
        async with self.room.take(amount):
            self.inside.append(amount)
            await self._leave.setdefault(amount, asyncio.Event()).wait()
            self.inside.remove(amount)

    def leave(self, amount: int) -> None:
        """Let go whoever takes so much."""
        self._leave[amount].set()


async def settled() -> None:
    """Let everybody do what they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_many_small_ones_or_few_large_ones() -> None:
    """As many as there is room for; one who is larger than the room has it alone."""

    async def scenario() -> None:
        guests = Guests(10)
        for amount in (1, 2, 3, 50, 4):
            guests.wait_turn(amount)
        await settled()
        assert guests.inside == [1, 2, 3]
        for amount in (1, 2, 3):
            guests.leave(amount)
        await settled()
        assert (guests.inside, guests.room.free) == ([50], 0)
        guests.leave(50)
        await settled()
        assert (guests.inside, guests.room.free) == ([4], 6)

    asyncio.run(scenario())


def test_nobody_overtakes() -> None:
    """Or a large one might wait for ever."""

    async def scenario() -> None:
        guests = Guests(10)
        for amount in (6, 5, 1):
            guests.wait_turn(amount)
        await settled()
        assert guests.inside == [6]
        guests.leave(6)
        await settled()
        assert guests.inside == [5, 1]

    asyncio.run(scenario())


def test_who_gives_up_waiting_lets_those_behind_in() -> None:
    """Their room is not lost."""

    async def scenario() -> None:
        guests = Guests(10)
        guests.wait_turn(6)
        waiting = guests.wait_turn(5)
        guests.wait_turn(4)
        await settled()
        waiting.cancel()
        await settled()
        assert (guests.inside, guests.room.free) == ([6, 4], 0)

    asyncio.run(scenario())


def test_who_is_called_off_while_let_in_gives_the_room_back() -> None:
    """Both may happen in the same moment."""

    async def scenario() -> None:
        guests = Guests(10)
        first = guests.wait_turn(6)
        second = guests.wait_turn(5)
        await settled()
        guests.leave(6)
        await first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert guests.room.free == 10

    asyncio.run(scenario())
