"""What a check that fails says."""

from __future__ import annotations

from streamapp.doctor import examination
from streamapp.doctor.finding import Findings, fault
from streamapp.doctor.redaction import hiding


def _failing() -> Findings:
    yield fault("kafka.group", "seen", "kafka-consumer-groups --group streamapp")
    message = "no login with streamapp"
    raise ValueError(message)


def test_a_check_that_fails_shows_no_password_and_leaves_others_whole() -> None:
    """Even where the password is a word of ours."""
    first, last = examination._at_once({"kafka": _failing}, 10.0, hiding("mongodb://streamapp:streamapp@h"))

    assert "kafka-consumer-groups --group streamapp" == first.fix
    assert ("kafka.check", "a check has failed: ValueError: no login with ***") == (last.check, last.seen)
