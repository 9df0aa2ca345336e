"""Notice that Kafka has lost the end of a partition's log, and gives the lost offsets to other records (KIP-320).

A broker that loses its last writes, or an election of a replica that lacks them, sets the log back. Records that are
then written get the offsets of lost ones. A consumer that continues at its offset never reads those below it.

Each batch has the epoch of the leader that wrote it. When the epoch changes, and every few seconds, the check asks the
leader where the epoch of the last record that was read ends. Before the offset that is fetched: the log was set back.
The epoch is committed with the offset, as its metadata, so that a worker that starts later asks, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from time import monotonic
from typing import Any, NamedTuple

from aiokafka.client import ConnectionGroup
from aiokafka.protocol.fetch import FetchRequest
from faust.types import TP
from mode import get_logger

from streamapp.transport.leader_epoch_request import LeaderEpochRequest, LeaderEpochResponse
from streamapp.transport.topic_id_check import Send

log = get_logger(__name__)

#: Seconds between two checks of a partition in any case.
CHECK_INTERVAL_SECONDS = 5.0
#: Seconds until records are fetched again whose leader has answered with an error.
_FETCH_AGAIN_SECONDS = 0.5
OFFSET_OUT_OF_RANGE = 1
#: Epochs that are remembered of each partition; an older one is never asked for.
_MAX_EPOCHS = 16
#: The start of a batch: first offset, length of what follows the length, epoch of the leader, format.
_BATCH = Struct(">qiib")
_LENGTH_END = 12
#: The first format with the leader's epoch.
_FIRST_FORMAT = 2
#: The broker has answered with an error: the partition is fetched again.
_UNCERTAIN = -1
_METADATA = "leader_epoch="
#: Anybody may commit other metadata; the request has 32 bits for an epoch.
_MAX_EPOCH = 2**31 - 1


class Epoch(NamedTuple):
    """The epoch of the records from an offset on."""

    offset: int
    number: int


class _Fetched(NamedTuple):
    tp: TP
    offset: int
    #: As aiokafka decodes it: it begins with the partition and an error code, and ends with the records.
    response: Any
    epochs: Sequence[Epoch]


class TruncationCheck:
    """Sends the requests of aiokafka's consumer, and drops what was fetched behind the end of a log that was set back.

    Args:
        send: sends a request.
        topics: the topics to check.
        on_truncated: called with a partition and the offset from which its records are others.
    """

    def __init__(self, send: Send, *, topics: frozenset[str], on_truncated: Callable[[TP, int], None]) -> None:
        self._send = send
        self._topics = topics
        self._on_truncated = on_truncated
        self._epochs: dict[TP, list[Epoch]] = {}
        self._checked_at: dict[TP, float] = {}
        #: Partitions whose leader has answered with an error; logged once for each outage.
        self._uncertain: set[TP] = set()
        self._is_supported = True

    def assign(self, committed: Mapping[TP, str]) -> None:
        """Replace what is known of all partitions by the metadata of their committed offsets."""
        numbers = {tp: text.removeprefix(_METADATA) for tp, text in committed.items() if text.startswith(_METADATA)}
        self._epochs = {
            tp: [Epoch(-1, int(number))]
            for tp, number in numbers.items()
            if number.isdecimal() and int(number) <= _MAX_EPOCH
        }

    def forget(self, topic: str) -> None:
        """Forget a topic that was deleted and re-created."""
        self._epochs = {tp: epochs for tp, epochs in self._epochs.items() if tp.topic != topic}

    def metadata(self, tp: TP, offset: int) -> str:
        """The metadata to commit with an offset."""
        epoch = self._epoch_before(tp, offset)
        return "" if epoch is None else f"{_METADATA}{epoch}"

    async def send(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Send a request; the response to a fetch request lacks partitions whose log was set back."""
        response = await self._send(node_id, request, group=group)
        if isinstance(request, FetchRequest) and self._is_supported:
            offsets = {(topic, each[0]): each[1] for topic, parts in request.topics for each in parts}
            fetched = [*self._fetched(response, offsets)]
            known = self._epochs
            ends = await self._ends(node_id, fetched)
            if self._epochs is not known:  # assigned or forgotten meanwhile: what was fetched is fetched again
                ends = {each.tp: _UNCERTAIN for each in fetched}
            dropped = {each.tp for each in fetched if ends.get(each.tp, each.offset) < each.offset}
            for topic, partitions in response.topics:
                partitions[:] = [each for each in partitions if (topic, each[0]) not in dropped]
            for each in fetched:
                if each.tp not in dropped:
                    self._note(each)
            for tp in dropped:
                self._set_back(tp, ends[tp])
        return response

    def _fetched(self, response: Any, offsets: Mapping[tuple[str, int], int]) -> Iterator[_Fetched]:
        for topic, partitions in response.topics:
            if topic in self._topics:
                for each in partitions:
                    yield _Fetched(TP(topic, each[0]), offsets[topic, each[0]], each, [*_epochs_in(each[-1])])

    def _set_back(self, tp: TP, end: int) -> None:
        if end != _UNCERTAIN:
            self._epochs[tp] = [epoch for epoch in self._epochs[tp] if epoch.offset < end]
            self._on_truncated(tp, end)

    async def _ends(self, node_id: int, fetched: Sequence[_Fetched]) -> Mapping[TP, int]:
        """Where the epoch of the last record that was read ends, for the partitions that are due; or _UNCERTAIN."""
        asked: dict[str, dict[int, int]] = {}
        for each in fetched:
            known = self._epoch_before(each.tp, each.offset)
            if known is not None and self._is_due(each):
                asked.setdefault(each.tp.topic, {})[each.tp.partition] = known
        if not asked:
            return {}
        try:
            response: LeaderEpochResponse = await self._send(node_id, LeaderEpochRequest(asked))
        except NotImplementedError:
            self._is_supported = False
            return {}
        doubtful = {each.tp for each in fetched if self._is_doubtful(each)}
        answers = {
            TP(topic, partition): (error_code, end)
            for topic, partitions in response.topics
            for error_code, partition, _, end in partitions
        }
        uncertain = {tp for tp, (error_code, _) in answers.items() if error_code and tp in doubtful}
        await self._wait_for_leaders(uncertain)
        # The leader has no end for an epoch that it does not know.
        ends = {tp: end for tp, (error_code, end) in answers.items() if not error_code and end >= 0}
        return {**ends, **dict.fromkeys(uncertain, _UNCERTAIN)}

    async def _wait_for_leaders(self, uncertain: set[TP]) -> None:
        for tp in uncertain - self._uncertain:
            log.warning(
                "The leader of %s, partition %d, does not answer whether its log is complete. Its records are fetched"
                " again until it does.",
                tp.topic,
                tp.partition,
            )
        self._uncertain = uncertain
        if uncertain:
            await asyncio.sleep(_FETCH_AGAIN_SECONDS)

    def _is_due(self, fetched: _Fetched) -> bool:
        now = monotonic()
        is_due = now >= self._checked_at.get(fetched.tp, 0.0) + CHECK_INTERVAL_SECONDS
        if is_due or self._is_doubtful(fetched):
            self._checked_at[fetched.tp] = now
            return True
        return False

    def _is_doubtful(self, fetched: _Fetched) -> bool:
        """Whether the records may be others than those that follow the ones that were read."""
        known = self._epoch_before(fetched.tp, fetched.offset)
        has_changed = bool(fetched.epochs) and fetched.epochs[0].number != known
        return has_changed or fetched.response[1] == OFFSET_OUT_OF_RANGE

    def _epoch_before(self, tp: TP, offset: int) -> int | None:
        """The epoch of the last record before an offset; None if it is unknown."""
        return next((epoch.number for epoch in reversed(self._epochs.get(tp, ())) if epoch.offset < offset), None)

    def _note(self, fetched: _Fetched) -> None:
        known = self._epochs.setdefault(fetched.tp, [])
        for epoch in fetched.epochs:
            if not known or epoch.number > known[-1].number:
                known.append(epoch)
        del known[:-_MAX_EPOCHS]


def _epochs_in(data: bytes | None) -> Iterator[Epoch]:
    """The epoch of each batch in the records of a response, without repetitions."""
    if not data:
        return
    at, last = 0, None
    while at + _BATCH.size <= len(data):
        offset, length, number, magic = _BATCH.unpack_from(data, at)
        if magic < _FIRST_FORMAT or length <= 0:
            return
        if number != last and number >= 0:
            last = number
            yield Epoch(offset, number)
        at += _LENGTH_END + length
