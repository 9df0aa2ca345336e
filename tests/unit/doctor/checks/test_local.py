"""What is said of this machine, and what is not: secrets."""

from __future__ import annotations

import pytest

from streamapp.doctor.checks.finding import Verdict, count, fault, skipped
from streamapp.doctor.checks.local import PortFacts, judge_clock, judge_port, judge_settings
from streamapp.doctor.checks.redaction import hiding, user_of, without_user_info

RENAMED = {"STREAMAPP_OLD": "STREAMAPP_NEW"}
KNOWN = ["STREAMAPP_TOPIC", "STREAMAPP_PARTITIONS"]


def test_settings_that_are_known() -> None:
    """Nothing is wrong."""
    loaded, names = judge_settings(["STREAMAPP_TOPIC"], KNOWN, renamed=RENAMED, env_file=None, summary="topic t")

    assert "topic t; there is no .env in this folder" == loaded.seen
    assert "ok" == names.verdict


def test_settings_that_nobody_reads() -> None:
    """The nearest name is told, where there is one."""
    names = ["STREAMAPP_TOPICS", "STREAMAPP_XYZZYXYZZYXYZZYXYZZY"]
    loaded, found = judge_settings(names, KNOWN, renamed=RENAMED, env_file="/x/.env", summary="topic t")

    assert "topic t; /x/.env is read" == loaded.seen
    assert "warning" == found.verdict
    assert "rename STREAMAPP_TOPICS to STREAMAPP_TOPIC; unset STREAMAPP_XYZZYXYZZYXYZZYXYZZY" == found.fix


def test_deprecated_settings() -> None:
    """The fix names the new name, also beside an unknown variable."""
    names = ["STREAMAPP_OLD", "STREAMAPP_TOPICS"]
    _, found = judge_settings(names, KNOWN, renamed=RENAMED, env_file=None, summary="topic t")

    assert "warning" == found.verdict
    assert "unknown settings: STREAMAPP_TOPICS; deprecated settings: STREAMAPP_OLD" == found.seen
    assert "rename STREAMAPP_TOPICS to STREAMAPP_TOPIC; rename STREAMAPP_OLD to STREAMAPP_NEW" == found.fix


@pytest.mark.parametrize(
    ("behind", "expected"),
    [(0.5, "ok"), (-0.5, "ok"), (2.5, "warning"), (-59, "warning"), (61, "fault"), (-61, "fault")],
)
def test_clock(behind: float, expected: str) -> None:
    """Lag and latency are told by it."""
    assert expected == judge_clock(behind).verdict


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"is_open": False}, "ok: a:1 is free: no worker runs there"),
        ({"is_here": False, "is_open": False}, "fault: this machine has no address a:1 (STREAMAPP_WEB_HOST)"),
        ({"is_open": True}, "fault: a:1 is taken by another program than our worker"),
        ({"is_open": True, "ready": True}, "ok: our worker answers on a:1, and is ready"),
        ({"is_open": True, "ready": False, "trouble": "x"}, "warning: our worker answers on a:1, and is not ready: x"),
    ],
)
def test_port(facts: dict[str, bool], expected: str) -> None:
    """Free, ours, or somebody else's."""
    found = judge_port("ports.worker", PortFacts(address="a:1", **facts), who="worker", settings="STREAMAPP_WEB")

    assert expected == f"{found.verdict}: {found.seen}"


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:p%40ss%2Fw@h:1/?x=1",
        "mongodb://me:p%40ss%2Fw@h:1,i:2",
        "mongodb+srv://me:p%40ss%2Fw@h/?tlsCertificateKeyFilePassword=s3cret&authMechanismProperties=A:tok%3Den,B:tok2",
    ],
)
def test_secrets_are_hidden_in_every_spelling(uri: str) -> None:
    """Whether a driver quotes the address, or what it has decoded."""
    hide = hiding(uri)

    text = hide(f"{uri} fails: p@ss/w, p%40ss%2Fw")
    assert not {"p@ss/w", "p%40ss%2Fw", "s3cret", "tok=en", "tok%3Den", "tok2"} & set(text.replace(",", " ").split())
    assert "p%40" not in text
    assert "s3cret" not in text
    assert "me" == user_of(uri)


def test_a_password_with_a_space_is_hidden_and_leaves_the_user_known() -> None:
    """MongoDB's driver takes it as it is."""
    uri = "mongodb://me:pass word@h:1/?x=1"

    assert "h:1 refuses ***" == hiding(uri)("h:1 refuses pass word")
    assert "me" == user_of(uri)


def test_addresses_of_others_lose_their_password_too() -> None:
    """And an example keeps its place for one."""
    text = "http://u:pw@p:3128 and mongodb://<user>:<password>@<host>/"

    for hide in (hiding("mongodb://h:1"), without_user_info):
        assert "http://***@p:3128 and mongodb://<user>:<password>@<host>/" == hide(text)
    assert "" == user_of("mongodb://h:1")


def test_findings_are_counted_and_changed() -> None:
    """By verdict; in both texts."""
    found = [fault("a.b", "pw seen", "pw fix"), skipped("a.c", "b")]

    assert 1 == count(found, Verdict.FAULT)
    changed = found[0].changed(str.upper)
    assert ("PW SEEN", "PW FIX") == (changed.seen, changed.fix)
    assert "needs b" == found[1].seen
