"""Check the schema registry: its API, the two schemas of this repository, and the compatibility level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning
from streamapp.model.user_event import VERSIONS
from streamapp.registry import api_path

_READ_ONLY = ("READONLY", "READONLY_OVERRIDE")


def check_api(url: str, status: int, body: object, *, has_apicurio: bool) -> Finding:
    """Check that this URL has the Confluent API; `has_apicurio`: Apicurio answers at its own path."""
    check = "registry.address"
    if status == 200 and isinstance(body, list):  # noqa: PLR2004 - HTTP's OK
        return ok(check, f"{url} answers and has {len(body)} subjects")
    if status in (401, 403) and not has_apicurio:
        return fault(
            check,
            f"{url} answers with status {status}",
            "allow this machine to read the registry without a password, or through a proxy that adds the password",
        )
    return fault(check, api_path.problem(url, status), api_path.remedy(url, has_apicurio=has_apicurio))


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFacts:
    """The subject of the topic, as the registry has it."""

    name: str
    versions: Sequence[int]
    #: Compatibility level of the subject, or of the registry; None if unknown.
    level: str | None
    mode: str | None = None
    #: Version of this repository → version label in the registry; without those that are not registered.
    registered: Mapping[int, str]
    #: Version of this repository → whether the registry accepts it; None if unknown.
    acceptable: Mapping[int, bool | None]


def check_subject(subject: SubjectFacts, *, url: str, may_register: bool, sets_level: bool) -> Findings:
    """Check the two schemas, and the compatibility level."""
    for version in VERSIONS:
        yield _version(subject, version, url, may_register=may_register)
    yield _level(subject, url, will_be_set=may_register and sets_level)


def _version(subject: SubjectFacts, version: int, url: str, *, may_register: bool) -> Finding:
    check, file = f"registry.v{version}", f"user_event_v{version}.avsc"
    if version in subject.registered:
        return ok(check, f"{file} is registered as {subject.registered[version]} of {subject.name}")
    seen = f"{file} is not registered under {subject.name}"
    if not may_register:
        fix = f"set STREAMAPP_REGISTER_SCHEMAS=true, or register schemas/{file} under {subject.name}"
        return fault(check, f"{seen}, and STREAMAPP_REGISTER_SCHEMAS is false: the worker does not start", fix)
    if subject.mode in _READ_ONLY:
        fix = f"curl -X PUT -H 'Content-Type: application/json' -d '{{\"mode\": \"READWRITE\"}}' {url}/mode"
        return fault(check, f"{seen}, and the registry has the mode {subject.mode}: the worker cannot register it", fix)
    acceptable = subject.acceptable.get(version)
    if acceptable is False:
        seen = (
            f"{seen}, and it is not compatible ({subject.level}) with the {len(subject.versions)} registered versions:"
            " the worker does not start"
        )
        return fault(
            check,
            seen,
            f"{set_level_command(url, subject.name)}, or set another STREAMAPP_TOPIC, which has its own subject",
        )
    unknown = "" if acceptable else "; the registry did not say whether it accepts it"
    return ok(check, f"{seen} yet; the worker registers it{unknown}")


def _level(subject: SubjectFacts, url: str, *, will_be_set: bool) -> Finding:
    check = "registry.level"
    if subject.level not in {None, "NONE"}:
        return ok(check, f"{subject.name} has the compatibility level {subject.level}")
    if will_be_set and not subject.versions:
        return ok(check, f"{subject.name} does not exist yet; the worker sets its compatibility level to BACKWARD")
    level = f"the compatibility level {subject.level}" if subject.level else "no compatibility level"
    until = " until the worker starts and sets BACKWARD" if will_be_set else ""
    seen = f"{subject.name} has {level}: the registry accepts versions that existing readers cannot read{until}"
    return warning(check, seen, set_level_command(url, subject.name))


def set_level_command(url: str, subject: str) -> str:
    """Return the command that sets the compatibility level of a subject to BACKWARD."""
    body = '{"compatibility": "BACKWARD"}'
    return f"curl -X PUT -H 'Content-Type: application/json' -d '{body}' {url}/config/{subject}"
