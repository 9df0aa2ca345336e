"""Batches that Kafka's client cannot read: only the ids of their events can be compared."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from streamapp.decode.document import id_of
from streamapp.model.record import UnreadableRecords, own_origin
from streamapp.verify.checks.result import PartitionFates

_MAX_IDS_PER_QUERY = 5_000


class UnreadableBatches:
    """Compares such batches.

    Args:
        find_documents: returns the stored documents with these ids.
        failed: the `_id`s of all events that failed.
    """

    def __init__(
        self, find_documents: Callable[[Sequence[str]], Mapping[str, bytes]], *, failed: Container[str]
    ) -> None:
        self._find_documents = find_documents
        self._failed = failed
        #: Where they are, and why they cannot be read.
        self.places: list[str] = []

    def compare(
        self,
        batch: UnreadableRecords,
        fates: PartitionFates,
        *,
        topic_id: str | None,
        is_settled: bool,
        may_be_aged_out: bool,
    ) -> None:
        """Count a batch: the worker made one dead letter of it, or its events were stored before.

        Args:
            batch: the batch.
            fates: of its partition.
            topic_id: of the topic.
            is_settled: whether the group has committed it.
            may_be_aged_out: whether MongoDB may have deleted its events because of their age.
        """
        self.places.append(batch.place)
        stored, offsets = 0, range(batch.offset, batch.end)
        origin = own_origin(batch, topic_id)
        for begin in offsets[::_MAX_IDS_PER_QUERY]:
            part = range(begin, min(begin + _MAX_IDS_PER_QUERY, batch.end))
            stored += len(self._find_documents([id_of(origin._replace(offset=offset)) for offset in part]))
        failed = id_of(origin) in self._failed
        fates.records += max(1, stored + failed)
        fates.stored += stored
        fates.dead_lettered += failed
        if stored or failed:
            return
        if is_settled and may_be_aged_out:
            fates.aged_out += 1
        elif is_settled:
            fates.missing.add(batch.offset, f"the batch cannot be read: {batch.why}")
        else:
            fates.not_settled += 1
