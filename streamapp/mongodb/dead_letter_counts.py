"""The counts of dead letters: one document per reason and hour, in which each event is counted once.

The hour is that of the record's Kafka timestamp, which is the same on every delivery. All records without a timestamp
have one document for each reason, whose hour is the one in which it was created. For events that fail for the
first time, a document holds the last counted offset per partition. A replayed event that fails again arrives out of
order. It is counted only if its reason has changed; then the documents of both reasons keep its `_id` in `again`, so
that a copy of it, a return to the earlier reason, or its record if it is read again, is not counted again.

`minutes` says when they were counted: for each minute of the last day, by its start in epoch ms. `schemas` says by
which schema they were written: a number by schema id, one for all ids that the registry does not know (UNKNOWN_SCHEMA),
and one for all records without an id (NO_SCHEMA).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from bson import DatetimeMS
from pymongo import UpdateOne

from streamapp.decode.document import id_of
from streamapp.model.record import UNKNOWN_TIMESTAMP, DeadLetter, Reason, streamapp_headers

Key = TypeVar("Key", str, tuple[str, str])

_MILLIS_PER_HOUR = 3_600_000
_MILLIS_PER_MINUTE = 60_000
#: How long `minutes` keeps a minute.
MINUTES_KEPT = timedelta(days=1)
#: The number of `_id`s in `again`; a full document counts no further events that fail again. MongoDB's limit is higher.
MAX_AGAIN = 100_000
#: Keys of `schemas`; the ids that the registry knows are few, the others are not.
UNKNOWN_SCHEMA, NO_SCHEMA = "unknown", "none"
#: Characters of an error in a sample.
MAX_ERROR_LENGTH = 300


#: A document of this collection, and an event in its `again`; both by `_id`.
Counted = tuple[str, str]


def counted_again(letters: Sequence[DeadLetter]) -> Sequence[Mapping[str, Any]]:
    """The aggregation that returns the documents of these dead letters, with those events that their `again` has."""
    first = [letter for letter in letters if not letter.origin.failures]
    ids = {"$literal": [*{id_of(letter.origin) for letter in first}]}
    return [
        {"$match": {"_id": {"$in": [*{_id(letter) for letter in first}]}, "again.0": {"$exists": True}}},
        {"$project": {"again": {"$setIntersection": ["$again", ids]}}},
    ]


def updates(letters: Sequence[DeadLetter], now: datetime, counted: Container[Counted]) -> Sequence[UpdateOne]:
    """The updates that count these dead letters; they may be repeated.

    Args:
        letters: first failures in offset order per partition.
        now: the time at which they are counted.
        counted: what `counted_again` returned: a replay was counted, and then its record was read again.
    """
    first = [each for each in letters if not each.origin.failures and (_id(each), id_of(each.origin)) not in counted]
    changed = [letter for letter in letters if letter.origin.failures and _reason_before(letter) != letter.reason]
    seeds = [_seed(letter, now) for letter in {_id(letter): letter for letter in (*first, *changed)}.values()]
    marks = [_mark(id_, ids) for id_, ids in _grouped(changed, _id_before).items()]
    forgets = [_forget(id_, now) for id_ in dict.fromkeys(_id(letter) for letter in (*first, *changed))]
    return [*seeds, *(_count(letter, now) for letter in first), *marks, *_count_changed(changed, now), *forgets]


def key_of(reason: str, timestamp: int) -> str:
    """The `_id` of the document that counts an event; `timestamp` is that of its record, epoch ms."""
    return f"{reason}:{_hour_of(timestamp)}"


def _seed(letter: DeadLetter, now: datetime) -> UpdateOne:
    new = {"reason": str(letter.reason), "hour": _hour(letter, now), "n": 0}
    return UpdateOne({"_id": _id(letter)}, {"$setOnInsert": new}, upsert=True)


def _count(letter: DeadLetter, now: datetime) -> UpdateOne:
    origin = letter.origin
    # A dot in the name of a topic would create a nested field.
    last = f"offsets.{(origin.topic_id or origin.topic).replace('.', '_')}-{origin.partition}"
    return UpdateOne(
        {"_id": _id(letter), last: {"$not": {"$gte": origin.offset}}},
        {
            "$inc": {"n": 1, _minute_of(now): 1, f"schemas.{_schema(letter)}": 1},
            "$set": {last: origin.offset, "last_at": now, "sample": _sample(letter)},
        },
    )


def _count_changed(changed: Sequence[DeadLetter], now: datetime) -> Iterable[UpdateOne]:
    samples = {_by_schema(letter): _sample(letter) for letter in changed}
    for counted, ids in _grouped(changed, _by_schema).items():
        yield _count_again(*counted, ids, samples[counted], now)


def _mark(id_: str, ids: Sequence[str]) -> UpdateOne:
    return UpdateOne(_not_full(id_), {"$addToSet": {"again": {"$each": ids}}})


def _count_again(id_: str, schema: str, ids: Sequence[str], sample: dict[str, Any], now: datetime) -> UpdateOne:
    # As literals: values from headers can begin with a $.
    known, given = {"$ifNull": ["$again", []]}, {"$literal": ids}
    is_new = {"$gt": [{"$size": "$new"}, 0]}
    parts = (_minute_of(now), f"schemas.{schema}")
    return UpdateOne(
        _not_full(id_),
        [
            {"$set": {"new": {"$setDifference": [given, known]}}},
            {
                "$set": {
                    "n": {"$add": ["$n", {"$size": "$new"}]},
                    **{part: {"$add": [{"$ifNull": [f"${part}", 0]}, {"$size": "$new"}]} for part in parts},
                    "again": {"$concatArrays": [known, "$new"]},
                    "last_at": {"$cond": [is_new, now, "$last_at"]},
                    "sample": {"$cond": [is_new, {"$literal": sample}, "$sample"]},
                }
            },
            {"$unset": "new"},
        ],
    )


def _forget(id_: str, now: datetime) -> UpdateOne:
    """Remove the minutes that are older than a day."""
    first = str(_start_of_minute(now - MINUTES_KEPT))  # of 13 digits, as all others
    minutes = {"$objectToArray": {"$ifNull": ["$minutes", {}]}}
    kept = {"$filter": {"input": minutes, "cond": {"$gte": ["$$this.k", first]}}}
    return UpdateOne({"_id": id_}, [{"$set": {"minutes": {"$arrayToObject": kept}}}])


def _minute_of(now: datetime) -> str:
    return f"minutes.{_start_of_minute(now)}"


def _start_of_minute(at: datetime) -> int:
    return int(at.timestamp() * 1000) // _MILLIS_PER_MINUTE * _MILLIS_PER_MINUTE


def _not_full(id_: str) -> dict[str, Any]:
    return {"_id": id_, f"again.{MAX_AGAIN}": {"$exists": False}}


def _grouped(letters: Sequence[DeadLetter], key: Callable[[DeadLetter], Key]) -> dict[Key, list[str]]:
    """The `_id`s of the events, by what counts them."""
    found: dict[Key, dict[str, None]] = defaultdict(dict)
    for letter in letters:
        found[key(letter)][id_of(letter.origin)] = None
    return {counted: [*ids] for counted, ids in found.items()}


def _id(letter: DeadLetter) -> str:
    return key_of(letter.reason, letter.origin.timestamp)


def _by_schema(letter: DeadLetter) -> tuple[str, str]:
    return _id(letter), _schema(letter)


def _schema(letter: DeadLetter) -> str:
    if letter.schema_id is None:
        return NO_SCHEMA
    return UNKNOWN_SCHEMA if letter.reason is Reason.UNKNOWN_SCHEMA_ID else str(letter.schema_id)


def _id_before(letter: DeadLetter) -> str:
    return key_of(_reason_before(letter), letter.origin.timestamp)


def _reason_before(letter: DeadLetter) -> str:
    return streamapp_headers(letter.record.headers).get("reason", b"").decode(errors="replace")


def _hour(letter: DeadLetter, now: datetime) -> DatetimeMS:
    """The start of the hour of a record; for one without a timestamp, of the time at which its count was begun."""
    timestamp = letter.origin.timestamp
    return DatetimeMS(_hour_of(int(DatetimeMS(now)) if timestamp == UNKNOWN_TIMESTAMP else timestamp))


def _hour_of(timestamp: int) -> int:
    return timestamp // _MILLIS_PER_HOUR * _MILLIS_PER_HOUR


def _sample(letter: DeadLetter) -> dict[str, Any]:
    origin = letter.origin
    return {
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "schema_id": letter.schema_id,
        # MongoDB's own errors quote the document.
        "error": None if letter.reason is Reason.REFUSED_BY_STORE else letter.error[:MAX_ERROR_LENGTH],
    }
