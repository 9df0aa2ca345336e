"""Judge the schema registry: is it one, and does it have our two versions, or would it take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning

_READ_ONLY = ("READONLY", "READONLY_OVERRIDE")


def judge_api(url: str, status: int, body: object, *, has_apicurio: bool) -> Finding:
    """Whether the Confluent API answers at this path; `has_apicurio` if Apicurio's own answers beside it."""
    check = "registry.address"
    if status == 200 and isinstance(body, list):  # noqa: PLR2004 - HTTP's OK
        return ok(check, f"{url} answers; subjects: {len(body)}")
    seen = f"{url}/subjects answers {status} and no list of subjects: no Confluent API at this path"
    if has_apicurio:
        return fault(check, f"{seen}; Apicurio is there", f"STREAMAPP_SCHEMA_REGISTRY_URL={url}/apis/ccompat/v7")
    if status in (401, 403):
        return fault(check, seen, "let this machine read the registry without a password, or by a proxy that adds it")
    fix = f"STREAMAPP_SCHEMA_REGISTRY_URL=<address with the path of the Confluent API>; try: curl {url}/subjects"
    return fault(check, seen, fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFacts:
    """The subject of the topic's values."""

    name: str
    versions: Sequence[int]
    #: Its own compatibility level, or the registry's; None where neither tells.
    level: str | None
    mode: str | None = None
    #: Our version (1, 2) → what the registry calls it; absent where it is not registered.
    ours: Mapping[int, str]
    #: Our version → whether the registry would take it; None where it cannot be asked.
    acceptable: Mapping[int, bool | None]


def judge_subject(subject: SubjectFacts, *, url: str, may_register: bool, sets_level: bool) -> Findings:
    """Our two versions, and the compatibility level that guards those to come."""
    for version in (1, 2):
        yield _version(subject, version, url, may_register=may_register)
    yield _level(subject, url, will_be_set=may_register and sets_level)


def _version(subject: SubjectFacts, version: int, url: str, *, may_register: bool) -> Finding:
    check, file = f"registry.v{version}", f"user_event_v{version}.avsc"
    if version in subject.ours:
        return ok(check, f"{file} is {subject.ours[version]} of {subject.name}")
    seen = f"{file} is not registered under {subject.name}"
    if not may_register:
        fix = f"STREAMAPP_REGISTER_SCHEMAS=true, or register schemas/{file} under {subject.name}"
        return fault(check, f"{seen}, and STREAMAPP_REGISTER_SCHEMAS is false: the worker does not start", fix)
    if subject.mode in _READ_ONLY:
        fix = f"curl -X PUT -H 'Content-Type: application/json' -d '{{\"mode\": \"READWRITE\"}}' {url}/mode"
        return fault(check, f"{seen}, and the registry is {subject.mode}", fix)
    acceptable = subject.acceptable.get(version)
    if acceptable is False:
        seen = f"{seen}, and compatibility {subject.level} with the {len(subject.versions)} versions there forbids it"
        return fault(
            check, seen, f"{set_level(url, subject.name)}, or another STREAMAPP_TOPIC, which has its own subject"
        )
    return ok(check, f"{seen} yet; the worker will do it" + ("" if acceptable else " (whether it may was not told)"))


def _level(subject: SubjectFacts, url: str, *, will_be_set: bool) -> Finding:
    check = "registry.level"
    if subject.level not in {None, "NONE"}:
        return ok(check, f"{subject.name} has {subject.level}")
    if will_be_set and not subject.versions:
        return ok(check, f"{subject.name} does not exist yet; the worker gives it BACKWARD")
    until = "until the worker starts, which gives it BACKWARD, " if will_be_set else ""
    level = subject.level or "no level"
    seen = f"{subject.name} has {level}: {until}a version that breaks readers is taken like any other"
    return warning(check, seen, set_level(url, subject.name))


def set_level(url: str, subject: str) -> str:
    """The command that has a subject checked."""
    body = '{"compatibility": "BACKWARD"}'
    return f"curl -X PUT -H 'Content-Type: application/json' -d '{body}' {url}/config/{subject}"
