"""What a check that fails says."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from streamapp import net
from streamapp.doctor import runner
from streamapp.doctor.checks.finding import Findings, fault
from streamapp.doctor.checks.redaction import hiding
from streamapp.doctor.environment import port_findings
from streamapp.doctor.mongo import MongoChecks
from tests.support.backends import plain_settings


def _failing() -> Findings:
    yield fault("kafka.group", "seen", "kafka-consumer-groups --group streamapp")
    message = "no login with streamapp"
    raise ValueError(message)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("mongodb://me:pass word@h", "let me in"), ("mongodb://h/?authMechanism=MONGODB-X509", "let us in")],
)
def test_a_refused_login_names_the_user_if_there_is_one(uri: str, expected: str) -> None:
    """The certificate may be the one who tells."""
    examination = MongoChecks(plain_settings(mongo_uri=SecretStr(uri)), {}, hiding(uri))

    assert expected in examination._refusal(OperationFailure("no", 18)).seen


@pytest.mark.parametrize("host", ["256.1.1.1", "a\nb"])
def test_a_host_that_is_no_address_of_this_machine_is_named(host: str) -> None:
    """Its port is not free: nobody could listen there."""
    settings = plain_settings(web_host=host, dashboard_port=net.choose_port())

    worker, page = port_findings(settings, str)

    assert ("fault", f"this machine has no address {host!r} (STREAMAPP_WEB_HOST)") == (worker.verdict, worker.seen)
    assert "ok" == page.verdict


def test_a_check_that_fails_shows_no_password_and_leaves_others_whole() -> None:
    """Even where the password is a word of ours."""
    first, last = runner._at_once({"kafka": _failing}, 10.0, hiding("mongodb://streamapp:streamapp@h"))

    assert "kafka-consumer-groups --group streamapp" == first.fix
    assert ("kafka.check", "a check has failed: ValueError: no login with ***") == (last.check, last.seen)
