"""Compare MongoDB and the dead-letter topic with what the load sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message
from pymongo import MongoClient

from streamapp.decode import identity
from streamapp.mongodb.client import Mongo
from streamapp.settings import Settings
from streamapp.verify.verification import Verification
from tests.faults.load import Place, Sent
from tests.support import events, foreign
from tests.support.recount import recounted, stored

if TYPE_CHECKING:
    from tests.faults.environment import Environment

Document = dict[str, Any]
#: Number of problems of one kind that are listed.
MAX_EXAMPLES = 3
#: The sketch of users is exact for few users, and has less than this error for many.
USERS_ARE_OFF_BY = 0.05


@dataclass(slots=True)
class Verdict:
    """The result of a run; a good run has no problems."""

    events: int = 0
    poisons: int = 0
    missing: int = 0
    extra: int = 0
    #: Documents with a wrong field.
    wrong: int = 0
    letters_missing: int = 0
    letters_extra: int = 0
    #: Dead letters that were delivered again: allowed where records were delivered again.
    letters_again: int = 0
    #: Rollups that differ from a recount, of all levels.
    rollups: int = 0
    #: Records that Kafka deleted before a worker read them.
    lost: int = 0
    problems: list[str] = field(default_factory=list[str])

    def complain(self, what: str, examples: list[Any]) -> int:
        """Note a problem with some items; return their number."""
        if examples:
            self.problems.append(f"{len(examples)} {what}, such as {examples[:MAX_EXAMPLES]!r}")
        return len(examples)


def judge(environment: Environment) -> Verdict:
    """Check everything, after there is no lag and no worker runs."""
    verdict = Verdict()
    standing = _standing(environment, verdict)
    with MongoClient[Document](environment.settings.mongo_uri.get_secret_value(), tz_aware=True) as client:
        database = client[environment.settings.mongo_database]
        documents = {document["_id"]: document for document in database["events"].find()}
        _judge_documents(environment, verdict, standing, documents)
        _judge_letters(environment, verdict, standing, sum(each["n"] for each in database["dead_letters"].find()))
        _judge_rollups(verdict, recounted([*documents.values()]), stored(database))
    verdict.complain("records refused by Kafka", environment.load.sent_log.failed)
    _judge_losses(environment, verdict)
    verdict.complain("problems reported by `streamapp verify`", _verify(environment))
    return verdict


def _verify(environment: Environment) -> list[str]:
    """What the tool itself finds, without what the load causes on purpose.

    A real replay keeps the bytes of its dead letter; the load's replays do not. A broker that is killed soon after it
    has deleted records may show them again.
    """
    due = {
        "differing": {sent.origin for sent in environment.load.sent_log.sent.values() if sent.origin},
        "missing": {
            Place(*partition_id, offset) for partition_id, cut in environment.cuts.items() for offset in range(*cut)
        },
    }
    mongo = Mongo(environment.settings.mongo_uri.get_secret_value(), environment.settings.mongo_database)
    with closing(mongo), closing(Verification(environment.settings, mongo)) as verification:
        verification.prepare()
        found = verification.run(lambda _: None)
    problems = [f"{problem}" for problem in found.problems() if problem.what not in due]
    for fates in found.partitions:
        for what, places in due.items():
            offsets = {offset for first, last in getattr(fates, what).ranges for offset in range(first, last + 1)}
            offsets -= {place.offset for place in places if place[:2] == (environment.load.topic_id, fates.partition)}
            if offsets:
                problems.append(f"{what}: partition {fates.partition}, offsets {sorted(offsets)[:MAX_EXAMPLES]}")
    return problems


def _standing(environment: Environment, verdict: Verdict) -> dict[Place, Sent]:
    """Every record that Kafka acknowledged, or holds without an acknowledgement, by its coordinates."""
    sent_log, topic_id = environment.load.sent_log, environment.load.topic_id
    standing = {**sent_log.acknowledged}
    read: dict[Place, Message] = {}
    for record in foreign.read_to_end(environment.settings, environment.settings.topic, within=600):
        read[Place(topic_id, record.partition() or 0, record.offset() or 0)] = record
    for place, record in read.items():
        if sent := sent_log.sent.get(record.key() or b""):
            standing.setdefault(place, sent)
    gone = [
        place
        for place in standing
        if place.topic_id == topic_id and place not in read and not _is_deleted(environment, place)
    ]
    verdict.complain("records acknowledged by Kafka, and missing in it", gone)
    return standing


def _is_deleted(environment: Environment, place: Place) -> bool:
    _, end = environment.cuts.get((place.topic_id, place.partition), (0, 0))
    return place.offset < end


def _is_cut(environment: Environment, place: Place) -> bool:
    begin, end = environment.cuts.get((place.topic_id, place.partition), (0, 0))
    return begin <= place.offset < end


def _judge_documents(
    environment: Environment, verdict: Verdict, standing: Mapping[Place, Sent], documents: Mapping[str, Document]
) -> None:
    lost = environment.load.sent_log.lost
    expected = {place.id: (place, sent) for place, sent in lost.items()}
    for place, sent in standing.items():
        if sent.document is not None:
            expected[_id_of(place, sent, lost)] = (place, sent)
    verdict.events = len(expected)
    missing = [id_ for id_ in expected if id_ not in documents]
    cut = [id_ for id_ in missing if _is_cut(environment, expected[id_][0])]
    verdict.lost += len(cut)
    verdict.missing = verdict.complain("events missing", [id_ for id_ in missing if id_ not in {*cut}])
    verdict.extra = verdict.complain("documents too many", [id_ for id_ in documents if id_ not in expected])
    wrong = [
        (id_, documents[id_])
        for id_, (place, sent) in expected.items()
        if id_ in documents and not _is_right(id_, documents[id_], place, sent, environment)
    ]
    verdict.wrong = verdict.complain("documents wrong", wrong)


def _id_of(place: Place, sent: Sent, lost: Mapping[Place, Sent]) -> str:
    """The `_id` of an event: one of its own if Kafka has used the offset of a lost record again."""
    if place not in lost or sent.origin:
        return (sent.origin or place).id
    kafka = {"timestamp": datetime.fromtimestamp(sent.timestamp / 1000, UTC)}
    return identity.with_id_of_its_own({**(sent.document or {}), "_id": place.id, "kafka": kafka})["_id"]


def _is_right(id_: str, document: Document, place: Place, sent: Sent, environment: Environment) -> bool:
    origin = sent.origin or place
    found = events.as_written(document)
    kafka, received_at = {**found.pop("kafka")}, found.pop("received_at")
    at = environment.load.sent_log.acknowledged[origin].timestamp if sent.origin else sent.timestamp
    coordinates = {
        "topic": environment.settings.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "timestamp": datetime.fromtimestamp(at / 1000, UTC),
    }
    is_out_of_order = kafka.pop("apart", False)
    return (
        found == {"_id": id_, **(sent.document or {})}
        and kafka == coordinates
        and isinstance(received_at, datetime)
        and (is_out_of_order or id_ == place.id)
    )


def _judge_letters(environment: Environment, verdict: Verdict, standing: Mapping[Place, Sent], counted: int) -> None:
    poisons = {place: sent for place, sent in standing.items() if sent.reason}
    verdict.poisons = len(poisons)
    came = Counter[Place]()
    extra: list[Any] = []
    for letter in foreign.read_to_end(environment.settings, environment.settings.dead_letter_topic, within=600):
        headers = dict(letter.headers() or ())
        place = _place(headers)
        if place in poisons and _is_faithful(letter, headers, poisons[place], environment.settings):
            came[place] += 1
        else:
            extra.append((place, headers))
    missing = [place for place in poisons if place not in came]
    cut = [place for place in missing if _is_cut(environment, place)]
    verdict.lost += len(cut)
    verdict.letters_missing = verdict.complain("dead letters missing", [each for each in missing if each not in {*cut}])
    verdict.letters_extra = verdict.complain("dead letters that were not sent, or differ", extra)
    again = [place for place, number in came.items() if number > 1]
    verdict.letters_again = (
        len(again) if environment.is_disturbed else verdict.complain("dead letters were delivered twice", again)
    )
    # A dead letter may have been delivered and not yet counted when Kafka deleted its record.
    due = len(came) - sum(_is_cut(environment, place) for place in came)
    if not due <= counted <= len(came):
        verdict.problems.append(f"{len(came)} dead letters are counted as {counted}")


def _place(headers: Mapping[str, bytes | None]) -> Place:
    topic_id, partition, offset = (
        (headers.get(f"streamapp.{name}") or b"").decode() for name in ("incarnation", "partition", "offset")
    )
    return Place(topic_id, int(partition), int(offset))


def _is_faithful(letter: Message, headers: Mapping[str, bytes | None], sent: Sent, settings: Settings) -> bool:
    return (
        (letter.key(), letter.value(), letter.timestamp()[1]) == (sent.key, sent.value, sent.timestamp)
        and all(headers.get(name) == value for name, value in sent.headers)
        and (headers["streamapp.reason"] or b"").decode() == sent.reason
        and (headers["streamapp.topic"] or b"").decode() == settings.topic
    )


def _judge_rollups(verdict: Verdict, expected: Document, found: Document) -> None:
    differ = [
        (level, id_, ours.get(id_), found[level].get(id_))
        for level, ours in expected.items()
        for id_ in ours.keys() | found[level].keys()
        if not _is_same(ours.get(id_), found[level].get(id_))
    ]
    verdict.rollups = verdict.complain("rollups differ", differ)


def _is_same(ours: Document | None, theirs: Document | None) -> bool:
    if ours is None or theirs is None:
        return False
    off_by = abs(ours["users"] - theirs["users"])
    return off_by <= USERS_ARE_OFF_BY * ours["users"] and {**ours, "users": 0} == {**theirs, "users": 0}


def _judge_losses(environment: Environment, verdict: Verdict) -> None:
    reported = sum(member.lost for member in environment.workers.members)
    if reported < verdict.lost or (reported and not environment.cuts):
        verdict.problems.append(f"{verdict.lost} records were deleted unread, and the workers report {reported}")
