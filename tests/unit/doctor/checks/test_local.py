"""Findings about this machine, and the redaction of secrets."""

from __future__ import annotations

import pytest

from streamapp.doctor.checks.finding import Verdict, count_verdicts, fault, skipped
from streamapp.doctor.checks.local import PortFacts, check_clock, check_decoder, check_port, check_settings
from streamapp.doctor.checks.redaction import redact_user_info, redactor, user_of

RENAMED = {"STREAMAPP_OLD": "STREAMAPP_NEW"}
KNOWN = ["STREAMAPP_TOPIC", "STREAMAPP_PARTITIONS"]


def test_known_settings() -> None:
    """Their number is reported."""
    loaded, names = check_settings(["STREAMAPP_TOPIC"], KNOWN, renamed=RENAMED, env_file=None, summary="topic t")

    assert "topic t; this folder has no .env file" == loaded.seen
    assert "ok" == names.verdict


def test_unknown_settings() -> None:
    """The finding suggests the most similar name, if there is one."""
    names = ["STREAMAPP_TOPICS", "STREAMAPP_XYZZYXYZZYXYZZYXYZZY"]
    loaded, found = check_settings(names, KNOWN, renamed=RENAMED, env_file="/x/.env", summary="topic t")

    assert "topic t; /x/.env is read" == loaded.seen
    assert "warning" == found.verdict
    assert "rename STREAMAPP_TOPICS to STREAMAPP_TOPIC; unset STREAMAPP_XYZZYXYZZYXYZZYXYZZY" == found.fix


def test_deprecated_settings() -> None:
    """The fix names the new name, also beside an unknown variable."""
    names = ["STREAMAPP_OLD", "STREAMAPP_TOPICS"]
    _, found = check_settings(names, KNOWN, renamed=RENAMED, env_file=None, summary="topic t")

    assert "warning" == found.verdict
    assert found.seen == (
        "variables without effect, because no setting has this name: STREAMAPP_TOPICS;"
        " deprecated settings: STREAMAPP_OLD"
    )
    assert "rename STREAMAPP_TOPICS to STREAMAPP_TOPIC; rename STREAMAPP_OLD to STREAMAPP_NEW" == found.fix


@pytest.mark.parametrize(
    ("is_wanted", "is_built", "expected"),
    [
        (True, True, "compiled"),
        (False, True, "python, because STREAMAPP_COMPILED_DECODER is false"),
        (
            True,
            False,
            "python: the compiled kernel was not built, for which this Python needs a C compiler and Python.h",
        ),
    ],
)
def test_decoder(*, is_wanted: bool, is_built: bool, expected: str) -> None:
    """Both are as they should be; the finding says why it is the slower one."""
    found = check_decoder(is_wanted=is_wanted, is_built=is_built)

    assert ("ok", expected) == (found.verdict, found.seen)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [(0.5, "ok"), (-0.5, "ok"), (2.5, "warning"), (-59, "warning"), (61, "fault"), (-61, "fault")],
)
def test_clock(behind: float, expected: str) -> None:
    """A wrong clock makes latency and lag wrong."""
    assert expected == check_clock(behind).verdict


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"is_open": False}, "ok: a:1 is free; the worker is not running"),
        (
            {"is_here": False, "is_open": False},
            "fault: this machine has no address a:1 (STREAMAPP_WEB_HOST): the worker cannot listen there",
        ),
        ({"is_open": True}, "fault: another program listens on a:1: the worker cannot start"),
        ({"is_open": True, "ready": True}, "ok: the worker on a:1 is ready"),
        ({"is_open": True, "ready": False, "not_ready": "x"}, "warning: the worker on a:1 is not ready: x"),
    ],
)
def test_port(facts: dict[str, bool], expected: str) -> None:
    """It is free, used by the worker, or used by another program."""
    found = check_port("ports.worker", PortFacts(address="a:1", **facts), program="worker", settings="STREAMAPP_WEB")

    assert expected == f"{found.verdict}: {found.seen}"


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:p%40ss%2Fw@h:1/?x=1",
        "mongodb://me:p%40ss%2Fw@h:1,i:2",
        "mongodb+srv://me:p%40ss%2Fw@h/?tlsCertificateKeyFilePassword=s3cret&authMechanismProperties=A:tok%3Den,B:tok2",
    ],
)
def test_secrets_are_redacted_in_every_encoding(uri: str) -> None:
    """A driver may quote the connection string or the decoded password."""
    redact = redactor(uri)

    text = redact(f"{uri} fails: p@ss/w, p%40ss%2Fw")
    assert not {"p@ss/w", "p%40ss%2Fw", "s3cret", "tok=en", "tok%3Den", "tok2"} & set(text.replace(",", " ").split())
    assert "p%40" not in text
    assert "s3cret" not in text
    assert "me" == user_of(uri)


def test_a_password_with_a_space_is_redacted() -> None:
    """The driver accepts it without percent-encoding."""
    uri = "mongodb://me:pass word@h:1/?x=1"

    assert "h:1 refuses ***" == redactor(uri)("h:1 refuses pass word")
    assert "me" == user_of(uri)


def test_passwords_of_other_addresses_are_redacted() -> None:
    """The placeholders of an example are kept."""
    text = "http://u:pw@p:3128 and mongodb://<user>:<password>@<host>/"

    for redact in (redactor("mongodb://h:1"), redact_user_info):
        assert "http://***@p:3128 and mongodb://<user>:<password>@<host>/" == redact(text)
    assert "" == user_of("mongodb://h:1")


def test_findings_are_counted_by_verdict() -> None:
    """`with_texts` changes both texts."""
    found = [fault("a.b", "pw seen", "pw fix"), skipped("a.c", "b")]

    assert 1 == count_verdicts(found, Verdict.FAULT)
    changed = found[0].with_texts(str.upper)
    assert ("PW SEEN", "PW FIX") == (changed.seen, changed.fix)
    assert "needs b" == found[1].seen
