"""Findings about the schema registry."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.checks.registry import SubjectFacts, check_api, check_subject

URL = "http://r:8081"


def test_api() -> None:
    """Anything else than a list of subjects is a fault."""
    assert "ok" == check_api(URL, 200, ["a"], has_apicurio=False).verdict
    apicurio = check_api(URL, 404, None, has_apicurio=True)

    assert "STREAMAPP_SCHEMA_REGISTRY_URL=http://r:8081/apis/ccompat/v7" == apicurio.fix
    assert "password" in check_api(URL, 401, None, has_apicurio=False).fix
    assert "curl http://r:8081/subjects" in check_api(URL, 200, {}, has_apicurio=False).fix


def a_subject(**changes: Any) -> SubjectFacts:
    values: dict[str, Any] = {"name": "s", "versions": [1, 2], "level": "BACKWARD", "registered": {1: "v1", 2: "v2"}}
    return SubjectFacts(**{**values, "acceptable": {}, **changes})


def of(subject: SubjectFacts, *, may_register: bool = True, sets_level: bool = True) -> dict[str, str]:
    found = check_subject(subject, url=URL, may_register=may_register, sets_level=sets_level)
    return {finding.check: str(finding.verdict) for finding in found if finding.verdict != "ok"}


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (a_subject(), {}),
        (a_subject(registered={1: "v1"}, acceptable={2: True}), {}),
        (a_subject(registered={1: "v1"}, acceptable={2: None}), {}),
        (a_subject(registered={1: "v1"}, acceptable={2: False}), {"registry.v2": "fault"}),
        (a_subject(registered={1: "v1"}, acceptable={2: True}, mode="READONLY"), {"registry.v2": "fault"}),
        (a_subject(mode="READONLY"), {}),
        (a_subject(level="NONE"), {"registry.level": "warning"}),
        (a_subject(level=None), {"registry.level": "warning"}),
        (a_subject(level="FULL"), {}),
        (a_subject(versions=[], registered={}, acceptable={1: True, 2: True}, level="NONE"), {}),
    ],
)
def test_subject(subject: SubjectFacts, expected: dict[str, str]) -> None:
    """Both versions must be registered or acceptable."""
    assert expected == of(subject)


def test_missing_schema_if_registration_is_off() -> None:
    """The worker does not start."""
    assert {"registry.v2": "fault"} == of(a_subject(registered={1: "v1"}, acceptable={2: True}), may_register=False)


def test_missing_level_if_the_worker_keeps_it() -> None:
    """With STREAMAPP_COMPATIBILITY=keep the worker does not set a level."""
    assert {} == of(a_subject(), sets_level=False)
    assert {"registry.level": "warning"} == of(a_subject(level=None), sets_level=False)
