"""Check the schema registry: its API, the two schemas of this repository, and the compatibility level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning
from streamapp.model.user_event import VERSIONS
from streamapp.registry import access, api_path

_READ_ONLY = ("READONLY", "READONLY_OVERRIDE")
_NO_PRODUCER = "set STREAMAPP_PRODUCE_INTERVAL_SECONDS=0"
_OTHER_TOPIC = "or, to produce sample events, another STREAMAPP_TOPIC, which has its own subject"


def check_api(url: str, status: int, body: object, *, has_apicurio: bool) -> Finding:
    """Check that this URL has the Confluent API; `has_apicurio`: Apicurio answers at its own path."""
    check = "registry.address"
    if status == 200 and isinstance(body, list):  # noqa: PLR2004 - HTTP's OK
        return ok(check, f"{url} answers and has {len(body)} subjects")
    if status in access.REFUSALS and not has_apicurio:
        cause, remedy = access.REFUSALS[status]
        return fault(check, f"{url} answers with status {status}: {cause}", remedy)
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

    @property
    def is_of_others(self) -> bool:
        """Whether it has versions, and none is a schema of this repository."""
        return bool(self.versions) and not self.registered


def check_subject(subject: SubjectFacts, *, url: str, may_register: bool, sets_level: bool, produces: bool) -> Findings:
    """Check the two schemas, which only the sample producer needs, and the compatibility level."""
    for version in VERSIONS:
        yield _version(subject, version, url, may_register=may_register, produces=produces)
    will_register = produces and may_register and not subject.is_of_others
    yield _level(subject, url, will_be_set=will_register and sets_level)


def _version(subject: SubjectFacts, version: int, url: str, *, may_register: bool, produces: bool) -> Finding:
    check, file = f"registry.v{version}", f"user_event_v{version}.avsc"
    if version in subject.registered:
        return ok(check, f"{file} is registered as {subject.registered[version]} of {subject.name}")
    seen = f"{file} is not registered under {subject.name}"
    if not produces:
        return ok(check, f"{seen}; a worker without sample producer does not need it")
    if obstacle := _obstacle(subject, version, url, may_register=may_register):
        why, fix = obstacle
        return warning(check, f"{seen}{why}: the worker consumes events and produces no sample events", fix)
    unknown = "" if subject.acceptable.get(version) else "; the registry did not say whether it accepts it"
    return ok(check, f"{seen} yet; the worker registers it{unknown}")


def _obstacle(subject: SubjectFacts, version: int, url: str, *, may_register: bool) -> tuple[str, str] | None:
    """Return why the worker cannot register a schema, and what to do; None if it can."""
    if subject.is_of_others:
        return ", which has only schemas of other producers", f"{_NO_PRODUCER}, {_OTHER_TOPIC}"
    if not may_register:
        fix = f"{_NO_PRODUCER}, or STREAMAPP_REGISTER_SCHEMAS=true, or register schemas/user_event_v{version}.avsc"
        return ", and STREAMAPP_REGISTER_SCHEMAS is false", f"{fix} under {subject.name}"
    if subject.mode in _READ_ONLY:
        body = '{"mode": "READWRITE"}'
        fix = f"curl -X PUT -H 'Content-Type: application/json' -d '{body}' {api_path.first(url)}/mode/{subject.name}"
        return f", and the mode there is {subject.mode}", fix
    if subject.acceptable.get(version) is False:
        why = f", and it is not compatible ({subject.level}) with the {len(subject.versions)} registered versions"
        return why, f"{_NO_PRODUCER}, {_OTHER_TOPIC}"
    return None


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
    return f"curl -X PUT -H 'Content-Type: application/json' -d '{body}' {api_path.first(url)}/config/{subject}"
