"""The order of a partition's batches: what must happen in order waits for its turn.

A rollup counts an event only if all before it are counted, and a dead letter likewise. So once a batch is given up, no
later one of the same assignment gets its turn: both come again, from the committed offset on.
"""

from __future__ import annotations

import asyncio

from streamapp.errors import AssignmentLost
from streamapp.model.record import PartitionBatch


class Turn:
    """A batch's place in the order of its partition."""

    def __init__(self, assignment: int, earlier: Turn | None) -> None:
        self.assignment = assignment
        self._earlier = earlier
        #: Whether the batch and all before it have had their turn; False: they were given up.
        self._is_over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def wait_turn(self) -> None:
        """Wait until all earlier batches have had their turn.

        Raises:
            AssignmentLost: one of them was given up, and so is this one.
        """
        if self._earlier is not None:
            is_over = self._earlier._is_over  # noqa: SLF001 - one of us
            if not is_over.done():  # or each batch would wait for a round of the loop
                await asyncio.wait([is_over])
            if not is_over.result():
                raise AssignmentLost(f"an earlier batch of assignment {self.assignment} was given up")
            self._earlier = None

    def end(self) -> None:
        """Let the next batch have its turn."""
        self._is_over.set_result(True)

    def give_up(self) -> None:
        """Let no later batch have its turn, unless this one's is over."""
        if not self._is_over.done():
            self._is_over.set_result(False)


class PartitionOrder:
    """The last turn of each partition."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], Turn] = {}

    def queue_up(self, batch: PartitionBatch) -> Turn:
        """The turn of a batch, after those of its assignment that came before.

        Raises:
            AssignmentLost: a later assignment of the partition has begun.
        """
        partition = (batch.topic, batch.partition)
        earlier = self._last.get(partition)
        if earlier is not None and batch.assignment < earlier.assignment:
            # A straggler of an assignment that is over: nothing of it may be counted before what comes again.
            raise AssignmentLost(f"assignment {batch.assignment} of {batch.topic}, partition {batch.partition} is over")
        is_same = earlier is not None and earlier.assignment == batch.assignment
        self._last[partition] = turn = Turn(batch.assignment, earlier if is_same else None)
        return turn
