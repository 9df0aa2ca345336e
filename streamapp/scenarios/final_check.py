"""The end of a scenario: nothing of the topic is lost, double or changed, and the rollups count the events once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.topic_reader import TopicReader
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.scenarios.outcome import SentRecord
from streamapp.settings import Settings
from streamapp.verify.checks.result import Problem
from streamapp.verify.rollup_check import check_rollups
from streamapp.verify.verification import Verification

#: Seconds until the workers must have committed what they have stored.
_COMMIT_SECONDS = 30.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalResult:
    """What the verification has found."""

    records: int
    stored: int
    dead_lettered: int
    rollups: int
    #: Records of the scenario whose offsets the workers have not committed.
    uncommitted: int
    problems: Sequence[Problem]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.problems or self.uncommitted)


def verify(settings: Settings, mongo: Mongo, sent: Sequence[SentRecord]) -> FinalResult:
    """Compare the whole topic with documents, dead letters and rollups, as `streamapp verify` does.

    Raises:
        Transient: a server does not answer.
    """
    uncommitted = _wait_until_committed(settings, sent)
    with closing(Verification(settings, mongo)) as verification:
        verification.prepare()
        verdict = translate_errors(lambda: verification.run(_ignore))
    rollups, different = translate_errors(lambda: check_rollups(settings, mongo, _ignore))
    totals = verdict.totals()
    return FinalResult(
        records=totals["records"],
        stored=totals["stored"],
        dead_lettered=totals["dead_lettered"],
        rollups=rollups.rollups,
        uncommitted=uncommitted,
        problems=[*verdict.problems(), *different],
    )


def _ignore(_: int) -> None: ...


def _wait_until_committed(settings: Settings, sent: Sequence[SentRecord]) -> int:
    """Return how many of the records are not committed after _COMMIT_SECONDS."""
    give_up_at = time.monotonic() + _COMMIT_SECONDS
    with TopicReader(KafkaConnection.of(settings), settings.topic, group=settings.app_id) as reader:
        while True:
            committed = reader.committed(settings.app_id)
            open_ = sum(record.offset >= committed.get(record.partition, 0) for record in sent)
            if not open_ or time.monotonic() > give_up_at:
                return open_
            time.sleep(_LOOK_SECONDS)
