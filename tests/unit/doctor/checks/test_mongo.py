"""Findings about the MongoDB server."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.checks import mongo as checks
from streamapp.doctor.checks.mongo import Rights, ServerFacts

PRIMARY = {"isWritablePrimary": True, "setName": "rs0", "hosts": ["a", "b"], "passives": ["c"]}
NO_LOGIN = Rights(user="", privileges=None)


def a_user(*actions: str, db: str = "d", **resource: Any) -> Rights:
    where = resource or {"db": db, "collection": ""}
    return Rights(user="u", privileges=[{"resource": where, "actions": list(actions)}])


def test_replica_set() -> None:
    """A standalone server has no transactions."""
    assert "replica set rs0 with 3 members" == checks.check_topology(ServerFacts(hello=PRIMARY)).seen
    assert "ok" == checks.check_topology(ServerFacts(hello={"msg": "isdbgrid"})).verdict
    assert "warning" == checks.check_topology(ServerFacts(hello={})).verdict


@pytest.mark.parametrize(
    ("server", "rights", "expected"),
    [
        (ServerFacts(hello=PRIMARY), NO_LOGIN, "MongoDB accepts writes"),
        (
            ServerFacts(hello={"primary": "b:1"}),
            NO_LOGIN,
            "the member is not the primary, which is b:1: MongoDB refuses writes",
        ),
        (ServerFacts(hello={}), NO_LOGIN, "the replica set has no primary: MongoDB refuses writes"),
        (
            ServerFacts(hello=PRIMARY, is_locked=True),
            NO_LOGIN,
            "MongoDB is locked by fsyncLock: writes wait until it is unlocked",
        ),
        (
            ServerFacts(hello=PRIMARY, write_block=2),
            a_user("insert"),
            "user writes are blocked (setUserWriteBlockMode): MongoDB refuses writes",
        ),
        (ServerFacts(hello=PRIMARY, write_block=2), NO_LOGIN, "MongoDB accepts writes"),
        (
            ServerFacts(hello=PRIMARY, write_block=2),
            a_user("bypassWriteBlockingMode", cluster=True),
            "MongoDB accepts writes",
        ),
    ],
)
def test_writable(server: ServerFacts, rights: Rights, expected: str) -> None:
    """Each reason to refuse writes has its own finding."""
    assert expected == checks.check_writable(server, rights).seen


def test_rights() -> None:
    """A privilege may be on the collection, the database or any resource; missing ones are listed."""
    assert "ok" == checks.check_rights(NO_LOGIN, "d").verdict
    assert "ok" == checks.check_rights(a_user(*checks.REQUIRED_ACTIONS), "d").verdict
    assert "ok" == checks.check_rights(a_user(*checks.REQUIRED_ACTIONS, db=""), "d").verdict
    assert "ok" == checks.check_rights(a_user(*checks.REQUIRED_ACTIONS, anyResource=True), "d").verdict
    assert "fault" == checks.check_rights(a_user(*checks.REQUIRED_ACTIONS, db="other"), "d").verdict
    lacking = checks.check_rights(a_user("find", "insert", "remove", "createIndex", "createCollection"), "d")

    assert "u lacks the privileges update on d.events, d.rollups_1m" in lacking.seen
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
    """An acknowledged write must survive the loss of a member."""
    assert expected == checks.check_write_concern(concern, ServerFacts(hello=hello)).verdict


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
    """MongoDB stops when the disk is full."""
    assert expected == checks.check_disk(stats).verdict
