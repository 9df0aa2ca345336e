"""The order of a partition's batches: a batch has its turn after all earlier batches of its partition.

A rollup counts an event only if all events before it are counted, and so does the count of dead letters. So once a
batch is given up, no later batch of the same assignment has its turn. Kafka delivers all of them again, from the
committed offset on.
"""

from __future__ import annotations

import asyncio

from streamapp.errors import AssignmentLost
from streamapp.model.record import PartitionBatch


class Turn:
    """The place of a batch in the order of its partition."""

    def __init__(self, assignment: int, earlier: Turn | None) -> None:
        self.assignment = assignment
        self._earlier = earlier
        #: True once this batch and all earlier ones have had their turn; False once one of them was given up.
        self._is_over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def wait_turn(self) -> None:
        """Wait until all earlier batches have had their turn.

        Raises:
            AssignmentLost: an earlier batch was given up, so this one must be given up too.
        """
        if self._earlier is not None:
            is_over = self._earlier._is_over  # noqa: SLF001 - the same class
            if not is_over.done():  # else each batch would wait for one iteration of the event loop
                await asyncio.wait([is_over])
            if not is_over.result():
                raise AssignmentLost(f"an earlier batch of assignment {self.assignment} was given up")
            self._earlier = None

    def end(self) -> None:
        """Let the next batch have its turn."""
        self._is_over.set_result(True)

    def give_up(self) -> None:
        """Let no later batch have its turn; no effect after `end`."""
        if not self._is_over.done():
            self._is_over.set_result(False)


class PartitionOrder:
    """The last turn of each partition."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], Turn] = {}

    def queue_up(self, batch: PartitionBatch) -> Turn:
        """The turn of a batch, after the earlier batches of its assignment.

        Raises:
            AssignmentLost: a later assignment of the partition has begun.
        """
        partition = (batch.topic, batch.partition)
        earlier = self._last.get(partition)
        if earlier is not None and batch.assignment < earlier.assignment:
            # Nothing of an ended assignment may be counted before what Kafka delivers again.
            raise AssignmentLost(
                f"assignment {batch.assignment} of {batch.topic}, partition {batch.partition} has ended"
            )
        is_same = earlier is not None and earlier.assignment == batch.assignment
        self._last[partition] = turn = Turn(batch.assignment, earlier if is_same else None)
        return turn
