"""Findings about the schema registry."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.checks.finding import Finding
from streamapp.doctor.checks.registry import SubjectFacts, check_api, check_subject, set_level_command
from streamapp.model.user_event import VERSIONS

URL = "http://r:8081"
ALL = {version: f"v{version}" for version in VERSIONS}
LATEST = VERSIONS[-1]
ALL_BUT_LATEST = {version: label for version, label in ALL.items() if version != LATEST}
IS_MISSING = {f"registry.v{LATEST}": "warning"}


def test_api() -> None:
    """Anything else than a list of subjects is a fault."""
    assert "ok" == check_api(URL, 200, ["a"], has_apicurio=False).verdict
    apicurio = check_api(URL, 404, None, has_apicurio=True)

    assert "STREAMAPP_SCHEMA_REGISTRY_URL=http://r:8081/apis/ccompat/v7" == apicurio.fix
    assert "STREAMAPP_SCHEMA_REGISTRY_PASSWORD" in check_api(URL, 401, None, has_apicurio=False).fix
    assert "curl http://r:8081/subjects" in check_api(URL, 200, {}, has_apicurio=False).fix


def test_api_of_several_urls() -> None:
    """The remedy has a path at each of them; the command has one URL."""
    both = "http://a:1,http://b:2"
    apicurio = check_api(both, 404, None, has_apicurio=True)
    unknown = check_api(f"{both}/", 404, None, has_apicurio=False)
    one_is_right = check_api("http://a:1/apis/ccompat/v7,http://b:2", 404, None, has_apicurio=True)

    corrected = "STREAMAPP_SCHEMA_REGISTRY_URL=http://a:1/apis/ccompat/v7,http://b:2/apis/ccompat/v7"
    assert [corrected] * 2 == [apicurio.fix, one_is_right.fix]
    assert "for Apicurio Registry http://a:1/apis/ccompat/v7;" in unknown.fix
    assert unknown.fix.endswith("curl http://a:1/subjects")
    assert set_level_command(both, "s").endswith(" http://a:1/config/s")


def a_subject(**changes: Any) -> SubjectFacts:
    values: dict[str, Any] = {"name": "s", "versions": [*VERSIONS], "level": "BACKWARD", "registered": ALL}
    return SubjectFacts(**{**values, "acceptable": {}, **changes})


def findings_of(subject: SubjectFacts, **settings: bool) -> list[Finding]:
    defaults = {"may_register": True, "sets_level": True, "produces": True}
    return [*check_subject(subject, url=URL, **{**defaults, **settings})]


def of(subject: SubjectFacts, **settings: bool) -> dict[str, str]:
    found = findings_of(subject, **settings)
    return {finding.check: str(finding.verdict) for finding in found if finding.verdict != "ok"}


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (a_subject(), {}),
        (a_subject(registered=ALL_BUT_LATEST, acceptable={LATEST: True}), {}),
        (a_subject(registered=ALL_BUT_LATEST, acceptable={LATEST: None}), {}),
        (a_subject(registered=ALL_BUT_LATEST, acceptable={LATEST: False}), IS_MISSING),
        (a_subject(registered=ALL_BUT_LATEST, acceptable={LATEST: True}, mode="READONLY"), IS_MISSING),
        (a_subject(mode="READONLY"), {}),
        (a_subject(level="NONE"), {"registry.level": "warning"}),
        (a_subject(level=None), {"registry.level": "warning"}),
        (a_subject(level="FULL"), {}),
        (a_subject(versions=[], registered={}, acceptable=dict.fromkeys(VERSIONS, True), level="NONE"), {}),
    ],
)
def test_subject(subject: SubjectFacts, expected: dict[str, str]) -> None:
    """All versions must be registered or acceptable."""
    assert expected == of(subject)


def test_missing_schema_if_registration_is_off() -> None:
    """The worker consumes, and produces no sample events."""
    assert IS_MISSING == of(a_subject(registered=ALL_BUT_LATEST, acceptable={LATEST: True}), may_register=False)


@pytest.mark.parametrize("may_register", [True, False])
def test_schemas_of_others_only_matter_to_the_producer(may_register: bool) -> None:
    """The remedy names nothing that is set already, such as the level."""
    subject = a_subject(registered={}, acceptable={version: version == 1 for version in VERSIONS})

    found = findings_of(subject, may_register=may_register)

    assert {f"registry.v{version}": "warning" for version in VERSIONS} == of(subject, may_register=may_register)
    assert all("STREAMAPP_PRODUCE_INTERVAL_SECONDS=0" in each.fix for each in found[: len(VERSIONS)])
    assert not any(word in str(found) for word in ("curl", "STREAMAPP_REGISTER_SCHEMAS"))


@pytest.mark.parametrize("may_register", [True, False])
def test_a_worker_without_producer_needs_no_schema(may_register: bool) -> None:
    """With STREAMAPP_PRODUCE_INTERVAL_SECONDS=0 it consumes whatever the subject has."""
    for subject in (a_subject(registered={}), a_subject(registered={}, versions=[]), a_subject(mode="READONLY")):
        assert {} == of(subject, may_register=may_register, produces=False)


def test_the_level_of_a_subject_of_others_is_not_set() -> None:
    """The worker leaves it alone, so the warning does not say that it sets one."""
    for facts in ({"registered": {}}, {"registered": {}, "versions": []}):
        found = findings_of(a_subject(level=None, **facts), produces=bool(facts.get("versions", True)))
        assert "until the worker" not in found[-1].seen
        assert "the worker sets" not in found[-1].seen


def test_missing_level_if_the_worker_keeps_it() -> None:
    """With STREAMAPP_COMPATIBILITY=keep the worker does not set a level."""
    assert {} == of(a_subject(), sets_level=False)
    assert {"registry.level": "warning"} == of(a_subject(level=None), sets_level=False)
