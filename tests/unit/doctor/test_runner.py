"""Errors of checks, and what they reveal."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from streamapp import net
from streamapp.doctor import runner
from streamapp.doctor.checks.finding import Findings, fault
from streamapp.doctor.checks.redaction import redactor
from streamapp.doctor.environment import port_findings
from streamapp.doctor.mongo import MongoChecks
from tests.support.backends import plain_settings


def _failing() -> Findings:
    yield fault("kafka.group", "seen", "kafka-consumer-groups --group streamapp")
    message = "no login with streamapp"
    raise ValueError(message)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("mongodb://me:pass word@h", "the login of me:"), ("mongodb://h/?authMechanism=MONGODB-X509", "the login:")],
)
def test_a_refused_login_names_the_user_if_there_is_one(uri: str, expected: str) -> None:
    """With X.509, only the certificate names the user."""
    mongo = MongoChecks(plain_settings(mongo_uri=SecretStr(uri)), {}, redactor(uri))

    assert expected in mongo._refusal(OperationFailure("no", 18)).seen


@pytest.mark.parametrize("host", ["256.1.1.1", "a\nb"])
def test_a_host_that_is_no_address_of_this_machine_is_named(host: str) -> None:
    """No program can listen there, so the port does not count as free."""
    settings = plain_settings(web_host=host, dashboard_port=net.choose_port())

    worker, page = port_findings(settings, str)

    assert ("fault", f"this machine has no address {host!r} (STREAMAPP_WEB_HOST): the worker cannot listen there") == (
        worker.verdict,
        worker.seen,
    )
    assert "ok" == page.verdict


def test_an_error_of_a_check_is_redacted() -> None:
    """Commands of other findings are kept, even if the password is a word in them."""
    first, last = runner._run_concurrently({"kafka": _failing}, 10.0, redactor("mongodb://streamapp:streamapp@h"))

    assert "kafka-consumer-groups --group streamapp" == first.fix
    assert ("kafka.check", "a check failed with ValueError: no login with ***") == (last.check, last.seen)
