"""A log that Kafka has set back is noticed, and nothing that was fetched behind its end is kept."""

from __future__ import annotations

import asyncio
from io import BytesIO
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import Int32
from faust.types import TP

from streamapp.transport import truncation_check
from streamapp.transport.leader_epoch_request import LeaderEpochRequest, LeaderEpochResponse
from streamapp.transport.truncation_check import OFFSET_OUT_OF_RANGE, TruncationCheck

EVENTS = TP("events", 0)


def batch(offset: int, epoch: int, *, magic: int = 2) -> bytes:
    """The start of a batch, and four bytes more."""
    return pack(">qiib", offset, 9, epoch, magic) + b"rest"


class Leader:
    """Serves batches of one partition; `ends` are the ends of its epochs."""

    def __init__(self, ends: dict[int, int] | None = None) -> None:
        self.ends = ends
        self.asked: list[int] = []
        self.on_asked = lambda: None
        self.truncated: list[tuple[TP, int]] = []
        self.data, self.error_code, self.refusal = b"", 0, 0
        self.check = TruncationCheck(
            self._send, topics=frozenset({"events"}), on_truncated=lambda tp, end: self.truncated.append((tp, end))
        )

    async def _send(self, node_id: int, request: Any, *, group: Any = None) -> Any:
        if isinstance(request, LeaderEpochRequest):
            if self.ends is None:
                raise NotImplementedError
            (_, [(_, _, epoch)]) = request.build(request._CLASSES[0]).topics[0]
            self.asked.append(epoch)
            self.on_asked()
            return SimpleNamespace(topics=[("events", [(self.refusal, 0, epoch, self.ends.get(epoch, -1))])])
        return SimpleNamespace(
            topics=[("events", [[0, self.error_code, 100, self.data]]), ("others", [[0, 0, 1, b"records"]])]
        )

    def fetch(self, offset: int, *batches: bytes, error_code: int = 0) -> list[Any]:
        """Fetch once; return what is kept of the topic."""
        self.data, self.error_code = b"".join(batches), error_code
        request = FetchRequest(200, 1, 1_000, 1, [("events", [(0, offset, 1_000)]), ("others", [(0, 0, 1)])])
        response = asyncio.run(self.check.send(1, request))
        assert [[0, 0, 1, b"records"]] == dict(response.topics)["others"]
        return dict(response.topics)["events"]


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only a test changes; no check is due."""
    now = [1.0]
    monkeypatch.setattr(truncation_check, "monotonic", lambda: now[0])
    return now


def test_an_epoch_that_does_not_fit_the_request_is_ignored() -> None:
    """Anybody may commit offsets with other metadata."""
    leader = Leader({3: 30})
    leader.check.assign({EVENTS: "leader_epoch=99999999999"})

    assert "" == leader.check.metadata(EVENTS, 50)


def test_a_topic_that_is_forgotten_during_the_check_is_fetched_again() -> None:
    """What was fetched belongs to the deleted topic."""
    leader = Leader({3: 30})
    assert leader.fetch(0, batch(0, 3), batch(40, 3))
    leader.on_asked = lambda: leader.check.forget("events")

    assert [] == leader.fetch(50, batch(50, 4))
    assert [] == leader.truncated
    assert leader.fetch(0, batch(0, 1))
    assert "leader_epoch=1" == leader.check.metadata(EVENTS, 50)


def test_other_records_at_lost_offsets_are_noticed_by_their_epoch() -> None:
    """The leader says where the epoch of the last record that was read ends."""
    leader = Leader({3: 30})
    assert leader.fetch(0, batch(0, 3), batch(40, 3))
    assert [] == leader.asked

    assert [] == leader.fetch(50, batch(50, 4))
    assert ([3], [(EVENTS, 30)]) == (leader.asked, leader.truncated)
    # The records from there on are kept, and the next ones need no check.
    assert leader.fetch(30, batch(30, 4))
    assert leader.fetch(50, batch(50, 4))
    assert ([3, 3], 1) == (leader.asked, len(leader.truncated))


def test_a_new_leader_that_has_all_records_changes_nothing() -> None:
    """The end of the earlier epoch is the offset that is fetched."""
    leader = Leader({3: 50})
    leader.fetch(0, batch(0, 3), batch(49, 3))

    assert leader.fetch(50, batch(50, 5))
    assert ([3], []) == (leader.asked, leader.truncated)


def test_an_epoch_that_changes_within_a_response_is_that_of_the_records_behind_it() -> None:
    leader = Leader({4: 100})
    leader.fetch(0, batch(0, 3), batch(30, 4))

    assert leader.fetch(50, batch(50, 5))
    assert ([4], []) == (leader.asked, leader.truncated)
    assert ["leader_epoch=3", "leader_epoch=4", "leader_epoch=5"] == [
        leader.check.metadata(EVENTS, offset) for offset in (30, 31, 51)
    ]


def test_a_log_without_new_records_is_checked_every_few_seconds(now: list[float]) -> None:
    """The lost offsets may be used again up to the offset that is fetched."""
    leader = Leader({3: 30})
    leader.fetch(0, batch(0, 3))
    assert leader.fetch(50)
    now[0] += truncation_check.CHECK_INTERVAL_SECONDS

    assert [] == leader.fetch(50)
    assert [(EVENTS, 30)] == leader.truncated


def test_an_offset_behind_the_end_is_checked() -> None:
    """aiokafka would read the topic again from its first record."""
    leader = Leader({3: 30})
    leader.fetch(0, batch(0, 3))

    assert [] == leader.fetch(50, error_code=OFFSET_OUT_OF_RANGE)
    assert [(EVENTS, 30)] == leader.truncated


def test_the_epoch_is_committed_and_known_to_the_next_worker() -> None:
    before, after = Leader(), Leader({3: 30})
    before.fetch(0, batch(0, 3))
    after.check.assign({EVENTS: before.check.metadata(EVENTS, 50)})

    assert [] == after.fetch(50, batch(50, 4))
    assert [(EVENTS, 30)] == after.truncated


@pytest.mark.parametrize("metadata", ["", "another tool", "leader_epoch=x"])
def test_without_a_known_epoch_nothing_is_asked(metadata: str) -> None:
    """As after a reset of the offsets."""
    leader = Leader({3: 30})
    leader.check.assign({EVENTS: metadata})

    assert leader.fetch(50, batch(50, 4))
    assert [] == leader.asked


def test_a_re_created_topic_has_epochs_of_its_own() -> None:
    leader = Leader({3: 30})
    leader.fetch(0, batch(0, 3))
    leader.check.forget("events")

    assert leader.fetch(50, batch(50, 0))
    assert ("leader_epoch=0", []) == (leader.check.metadata(EVENTS, 51), leader.asked)


def test_a_broker_that_cannot_be_asked_is_asked_once() -> None:
    """And an old format has no epoch."""
    leader = Leader(None)
    leader.fetch(0, batch(0, 3))
    assert leader.fetch(50, batch(50, 4))
    assert leader.fetch(90, batch(90, 5))

    assert "" == Leader().check.metadata(EVENTS, 1)
    old = Leader({})
    old.fetch(0, batch(0, 3, magic=1))
    assert "" == old.check.metadata(EVENTS, 1)


def test_records_are_fetched_again_if_the_leader_cannot_say_where_its_log_ends() -> None:
    """It is not the leader any more, for example."""
    leader = Leader({3: 50})
    leader.fetch(0, batch(0, 3))
    leader.refusal = 6

    assert [] == leader.fetch(50, batch(50, 4))
    leader.refusal = 0
    assert leader.fetch(50, batch(50, 4))
    assert ([3, 3], []) == (leader.asked, leader.truncated)


@pytest.mark.parametrize("error_code", [0, 6])
def test_a_leader_that_has_changed_is_reported_to_aiokafka(error_code: int, now: list[float]) -> None:
    """It looks for the new leader only after an error; records of the known epoch are kept."""
    leader = Leader({3: 50})
    leader.fetch(0, batch(0, 3))
    leader.refusal = 6
    now[0] += truncation_check.CHECK_INTERVAL_SECONDS

    assert leader.fetch(50, *([] if error_code else [batch(50, 3)]), error_code=error_code)
    assert ([3], []) == (leader.asked, leader.truncated)


def test_an_unknown_end_is_no_truncation() -> None:
    leader = Leader({})
    leader.fetch(0, batch(0, 3))

    assert leader.fetch(50, batch(50, 4))
    assert ([3], []) == (leader.asked, leader.truncated)


def test_the_request_and_the_response_have_the_layout_of_the_protocol() -> None:
    """Kafka's protocol guide, OffsetForLeaderEpoch, version 3."""
    request = LeaderEpochRequest({"t": {2: 5}})
    struct = request.build(request._CLASSES[0])
    head = Int32.encode(-1) + Int32.encode(1) + b"\x00\x01t" + Int32.encode(1)
    assert head + Int32.encode(2) + Int32.encode(-1) + Int32.encode(5) == struct.encode()

    answer = Int32.encode(0) + Int32.encode(1) + b"\x00\x01t" + Int32.encode(1) + pack(">hiiq", 0, 2, 5, 70)
    assert [("t", [(0, 2, 5, 70)])] == LeaderEpochResponse.decode(BytesIO(answer)).topics
