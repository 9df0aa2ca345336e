"""What is said of MongoDB."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.checks import mongo as judge
from streamapp.doctor.checks.mongo import EventsFacts, Rights, ServerFacts

PRIMARY = {"isWritablePrimary": True, "setName": "rs0", "hosts": ["a", "b"], "passives": ["c"]}
ANYBODY = Rights(user="", privileges=None)


def a_user(*actions: str, db: str = "d", **resource: Any) -> Rights:
    where = resource or {"db": db, "collection": ""}
    return Rights(user="u", privileges=[{"resource": where, "actions": list(actions)}])


def test_replica_set() -> None:
    """Without one there are no transactions."""
    assert "replica set rs0 of 3" == judge.judge_topology(ServerFacts(hello=PRIMARY)).seen
    assert "ok" == judge.judge_topology(ServerFacts(hello={"msg": "isdbgrid"})).verdict
    assert "warning" == judge.judge_topology(ServerFacts(hello={})).verdict


@pytest.mark.parametrize(
    ("server", "rights", "expected"),
    [
        (ServerFacts(hello=PRIMARY), ANYBODY, "it is the primary, and takes writes"),
        (ServerFacts(hello={"primary": "b:1"}), ANYBODY, "it is not the primary, which is b:1: writes are refused"),
        (ServerFacts(hello={}), ANYBODY, "the replica set has no primary: writes are refused"),
        (ServerFacts(hello=PRIMARY, is_locked=True), ANYBODY, "it is locked by fsyncLock: writes wait"),
        (
            ServerFacts(hello=PRIMARY, write_block=2),
            a_user("insert"),
            "user writes are blocked (setUserWriteBlockMode)",
        ),
        (ServerFacts(hello=PRIMARY, write_block=2), ANYBODY, "it is the primary, and takes writes"),
        (
            ServerFacts(hello=PRIMARY, write_block=2),
            a_user("bypassWriteBlockingMode", cluster=True),
            "it is the primary, and takes writes",
        ),
    ],
)
def test_writable(server: ServerFacts, rights: Rights, expected: str) -> None:
    """Whatever keeps writes out is named."""
    assert expected == judge.judge_writable(server, rights).seen


def test_rights() -> None:
    """On the database, on any resource, by collection; what is lacking is named."""
    assert "ok" == judge.judge_rights(ANYBODY, "d").verdict
    assert "ok" == judge.judge_rights(a_user(*judge.NEEDED), "d").verdict
    assert "ok" == judge.judge_rights(a_user(*judge.NEEDED, db=""), "d").verdict
    assert "ok" == judge.judge_rights(a_user(*judge.NEEDED, anyResource=True), "d").verdict
    assert "fault" == judge.judge_rights(a_user(*judge.NEEDED, db="other"), "d").verdict
    lacking = judge.judge_rights(a_user("find", "insert", "remove", "createIndex", "createCollection"), "d")

    assert "u may not update in d.events, d.rollups_1m" in lacking.seen
    assert 'db.grantRolesToUser("u", [{role: "readWrite", db: "d"}])' in lacking.fix


@pytest.mark.parametrize(
    ("concern", "hello", "expected"),
    [
        ({}, PRIMARY, "ok"),
        ({"w": 0}, PRIMARY, "fault"),
        ({"w": 1}, PRIMARY, "warning"),
        ({"w": 1}, {"hosts": ["a"]}, "ok"),
        ({"w": "majority"}, PRIMARY, "ok"),
    ],
)
def test_write_concern(concern: dict[str, Any], hello: dict[str, Any], expected: str) -> None:
    """It must survive the loss of a member."""
    assert expected == judge.judge_write_concern(concern, ServerFacts(hello=hello)).verdict


def an_index(name: str = "event_timestamp_1", key: str = "event_timestamp", **options: Any) -> dict[str, Any]:
    return {"v": 2, "name": name, "key": {key: 1}, **options}


APART = an_index("apart", partialFilterExpression={"kafka.apart": True})
ID = an_index("_id_", "_id")


def of_events(*indexes: dict[str, Any], options: Any = None, refused: Any = ()) -> dict[str, str]:
    events = EventsFacts(database="d", exists=True, options=options or {}, indexes=indexes, refused=refused)
    return {f.check: f"{f.verdict}: {f.seen}" for f in judge.judge_events(events)}


def test_collection_that_does_not_exist_yet() -> None:
    """It will be made."""
    assert ["ok"] == [f.verdict for f in judge.judge_events(EventsFacts(database="d", exists=False))]


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ((ID, an_index(), APART), "ok: event_timestamp_1, apart are there"),
        ((ID,), "ok: event_timestamp_1, apart will be made"),
        ((ID, an_index("mine"), APART), "ok: event_timestamp_1, apart are there"),
        ((ID, an_index("by_user", "user_id")), "ok: event_timestamp_1, apart will be made"),
        ((ID, an_index("mine", partialFilterExpression={"a": 1})), "ok: event_timestamp_1, apart will be made"),
        ((ID, an_index("by_user", "user_id", unique=True)), "fault: index by_user is unique"),
        ((ID, an_index(sparse=True)), "warning: index event_timestamp_1 is in the way"),
        ((ID, an_index("mine", expireAfterSeconds=5)), "warning: index mine is in the way"),
        ((ID, an_index(), an_index("apart", "user_id")), "warning: index apart is in the way"),
    ],
)
def test_indexes(indexes: tuple[dict[str, Any], ...], expected: str) -> None:
    """There, to be made, or not to be made because of another one."""
    assert of_events(*indexes)["mongodb.indexes"].startswith(expected)


def test_collection_that_does_not_keep_events() -> None:
    """Capped, or with an index that deletes."""
    assert of_events()["mongodb.kept"].startswith("ok")
    assert of_events(options={"capped": True})["mongodb.kept"].startswith("fault")
    assert of_events(an_index(expireAfterSeconds=600))["mongodb.kept"].startswith("warning")


@pytest.mark.parametrize(
    ("action", "refused", "expected"),
    [("error", ["V1"], "fault"), ("warn", ["V1"], "warning"), ("error", [], "ok"), ("error", None, "warning")],
)
def test_validator(action: str, refused: Any, expected: str) -> None:
    """It must take our documents."""
    found = of_events(options={"validator": {"a": 1}, "validationAction": action}, refused=refused)

    assert found["mongodb.validator"].startswith(expected)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({}, "ok"),
        ({"fsTotalSize": 100e9, "fsUsedSize": 50e9}, "ok"),
        ({"fsTotalSize": 100e9, "fsUsedSize": 95e9}, "warning"),
        ({"fsTotalSize": 100e9, "fsUsedSize": 99.5e9}, "fault"),
    ],
)
def test_disk(stats: dict[str, float], expected: str) -> None:
    """A full disk stops MongoDB."""
    assert expected == judge.judge_disk(stats).verdict
