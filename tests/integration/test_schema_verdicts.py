"""The verdicts of `schema check` are those of the registry, and the commands read from it.

Each pair of `tests/support/schema_pairs.py` and each text of `tests/support/unusable_schemas.py` is sent to the
registry. There are no differences in the verdicts on usable schemas. Where the registry accepts what the Avro
specification does not allow, the reason is in the column `registry_accepts`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from streamapp.commands import schema
from streamapp.local.backend import Backend
from streamapp.model import event
from streamapp.settings import Settings
from tests.support import foreign
from tests.support.schema_pairs import PAIRS, TEXT, Pair, record
from tests.support.unusable_schemas import UNUSABLE, Unusable
from tests.support.workers import environment

BAD = {**event.schema(1), "fields": [*event.schema(1)["fields"], {"name": "plan", "type": "string"}]}


class Registry:
    """The registry, asked through its own API."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def subject(self, *schemas: Any) -> str:
        """Return a new subject with these versions, which no level checks."""
        name = uuid.uuid4().hex
        for each in schemas:
            assert self.accepts(json.dumps(each), subject=name)
        return name

    def accepts(self, text: str, subject: str | None = None) -> bool:
        """Whether it registers a schema."""
        path = f"/subjects/{subject or uuid.uuid4().hex}/versions"
        status = self._client.post(path, json={"schema": text}).status_code
        assert status in {200, 409, 422}
        return status == 200

    def set_level(self, subject: str, level: str) -> None:
        """Set the level of a subject, or of all if it is empty."""
        self._client.put(f"/config/{subject}".rstrip("/"), json={"compatibility": level}).raise_for_status()

    def is_compatible(self, subject: str, schema: Any, level: str) -> bool:
        """Return its verdict on a new version of a subject."""
        self.set_level(subject, level)
        version = "" if level.endswith("_TRANSITIVE") else "/latest"
        path = f"/compatibility/subjects/{subject}/versions{version}"
        answer = self._client.post(path, json={"schema": json.dumps(schema)}).raise_for_status()
        return answer.json()["is_compatible"]


@pytest.fixture(scope="module")
def registry(backend: Backend) -> Generator[Registry]:
    """Return the registry."""
    with httpx.Client(base_url=backend.addresses.schema_registry_url) as client:
        yield Registry(client)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_registry_has_the_same_verdict(registry: Registry, pair: Pair) -> None:
    """In both directions."""
    subject = registry.subject(pair.old)

    assert pair.backward == registry.is_compatible(subject, pair.new, "BACKWARD")
    assert pair.forward == registry.is_compatible(subject, pair.new, "FORWARD")
    assert (pair.backward and pair.forward) == registry.is_compatible(subject, pair.new, "FULL")


@pytest.mark.parametrize("case", UNUSABLE, ids=lambda case: case.name)
def test_the_registry_refuses_what_is_unusable_unless_the_table_says_why(registry: Registry, case: Unusable) -> None:
    """It uses Avro's Java library, which is more lenient than the specification."""
    assert bool(case.registry_accepts) == registry.accepts(case.text)


@pytest.mark.parametrize(
    ("level", "oldest", "latest", "new"),
    [
        ("BACKWARD", record(TEXT), record(TEXT, ("b", "int", 1)), record(TEXT, ("b", "int"))),
        ("FORWARD", record(TEXT), record((*TEXT, "")), record()),
        ("FULL", record(TEXT), record((*TEXT, "")), record()),
    ],
)
def test_transitive_levels_look_at_all_versions(  # noqa: PLR0917 - the columns of the table
    registry: Registry, settings: Settings, level: str, oldest: Any, latest: Any, new: Any
) -> None:
    """The registry and `schema check` alike: the new version fits the latest one only."""
    subject = registry.subject(oldest, latest)

    for each, expected in ((level, True), (f"{level}_TRANSITIVE", False)):
        assert expected == registry.is_compatible(subject, new, each)
        assert expected == (check(settings, new, "--against-registry", "--subject", subject).exit_code == 0)


def run(settings: Settings, *arguments: str) -> Result:
    """Run a subcommand with these settings."""
    return CliRunner().invoke(schema.command, arguments, env=environment(settings), catch_exceptions=False)


def check(settings: Settings, new: Any, *arguments: str) -> Result:
    """Check a schema."""
    with CliRunner().isolated_filesystem():
        Path("new.avsc").write_text(json.dumps(new), encoding="utf-8")
        return run(settings, "check", "new.avsc", *arguments)


def test_the_level_of_the_subject_is_used(registry: Registry, settings: Settings) -> None:
    """Or the one that --mode gives; `against` is the index of the version, the latest first."""
    foreign.register(settings, event.schema(1))
    foreign.register(settings, event.schema(2))
    registry.set_level(settings.subject, "BACKWARD_TRANSITIVE")

    bad = json.loads(check(settings, BAD, "--against-registry", "--json").stdout)
    forward = json.loads(check(settings, BAD, "--against-registry", "--json", "--mode", "forward").stdout)
    text = check(settings, BAD, "--against-registry")

    assert ("BACKWARD_TRANSITIVE", [0, 1]) == (bad["mode"], [each["against"] for each in bad["problems"]])
    assert {"compatible": True, "mode": "FORWARD", "problems": []} == forward
    assert 1 == text.exit_code
    assert f"plan  READER_FIELD_MISSING_DEFAULT_VALUE  against v2 of {settings.subject}" in text.stdout


def test_a_subject_without_a_level_has_that_of_the_registry(registry: Registry, settings: Settings) -> None:
    """Apicurio answers NONE if it is not asked for the default."""
    foreign.register(settings, event.schema(1))

    registry.set_level("", "FULL")
    try:
        assert "FULL" == json.loads(check(settings, BAD, "--against-registry", "--json").stdout)["mode"]
    finally:
        registry.set_level("", "NONE")
    assert "NONE" == json.loads(check(settings, BAD, "--against-registry", "--json").stdout)["mode"]


def test_a_subject_without_versions_is_unusable_input(settings: Settings) -> None:
    """A wrong name must not pass a check in CI."""
    done = check(settings, BAD, "--against-registry", "--subject", "nobody")

    assert (2, "") == (done.exit_code, done.stdout)
    assert "the subject nobody has no versions at http" in done.stderr


def test_a_registry_that_does_not_answer_is_no_verdict(settings: Settings) -> None:
    """Exit code 1 would say that the schema is not compatible."""
    away = settings.model_copy(update={"schema_registry_url": "http://127.0.0.1:9"})
    done = check(away, BAD, "--against-registry")

    assert (2, "") == (done.exit_code, done.stdout)
    assert "http://127.0.0.1:9 does not answer (STREAMAPP_SCHEMA_REGISTRY_URL)" in done.stderr


def test_a_registered_schema_that_only_java_reads_is_compared(settings: Settings) -> None:
    """What the specification does not allow is a note."""
    foreign.register(settings, record(TEXT, name="Ünï"))

    done = check(settings, record(TEXT), "--against-registry", "--mode", "BACKWARD")

    assert 1 == done.exit_code
    assert "R has no alias for Ünï" in done.stdout


def test_a_schema_with_references_is_compared_with_them(settings: Settings) -> None:
    """The definitions come from other subjects."""
    device = record(("kind", "string"), name="Device", namespace="shared")
    foreign.register(settings, device, f"{settings.topic}-device")
    reference = {"name": "shared.Device", "subject": f"{settings.topic}-device", "version": 1}
    foreign.register(settings, record(("device", "shared.Device")), references=[reference])
    new = record(("device", record(("kind", "int"), name="Device", namespace="shared")))

    done = check(settings, new, "--against-registry", "--mode", "BACKWARD", "--json")

    assert ["device.kind"] == [each["path"] for each in json.loads(done.stdout)["problems"]]


def test_diff_reads_versions_ids_and_files(settings: Settings) -> None:
    """In any combination."""
    first = foreign.register(settings, event.schema(1))
    foreign.register(settings, event.schema(2))

    for a, b in (("v1", "v2"), ("v1", "latest"), (str(first), "schemas/user_event_v2.avsc")):
        done = run(settings, "diff", a, b, "--json")
        added = [each["path"] for each in json.loads(done.stdout)["changes"] if each["change"] == "added"]
        assert (0, ["browser"]) == (done.exit_code, added)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9", "has no v9 of "),
        ("1900000000", "has no schema with the id 1900000000"),
        ("nothing.avsc", "nothing.avsc cannot be read"),
    ],
)
def test_diff_names_what_is_missing(settings: Settings, name: str, message: str) -> None:
    """Exit code 2."""
    foreign.register(settings, event.schema(1))
    done = run(settings, "diff", "v1", name)

    assert (2, "") == (done.exit_code, done.stdout)
    assert message in done.stderr


def registered(settings: Settings) -> list[int]:
    """Return the versions under the subject."""
    answer = httpx.get(f"{settings.schema_registry_url}/subjects/{settings.subject}/versions")
    return answer.json() if answer.status_code == 200 else []


def register(settings: Settings, new: Any, *options: str) -> Result:
    """Register a schema."""
    with CliRunner().isolated_filesystem():
        Path("new.avsc").write_text(json.dumps(new), encoding="utf-8")
        return run(settings, "register", "new.avsc", *options)


def test_register_checks_first(registry: Registry, settings: Settings) -> None:
    """A schema that is not compatible is refused with the reason; a compatible one is registered once."""
    first = register(settings, event.schema(1))
    registry.set_level(settings.subject, "BACKWARD")
    refused = register(settings, BAD)
    dry = register(settings, event.schema(2), "--dry-run")
    before = registered(settings)
    second = json.loads(register(settings, event.schema(2), "--json").stdout)
    again = register(settings, event.schema(2))

    assert (0, [1]) == (first.exit_code, before)
    assert f"new.avsc is registered as v1 of {settings.subject}, id " in first.stdout
    assert 1 == refused.exit_code
    assert "→ Give plan a default in the new schema." in refused.stdout
    assert "Nothing was registered." in refused.stdout
    assert f"would be a new version of {settings.subject}, which has 1. Nothing was registered." in dry.stdout
    assert (True, "v2") == (second["registered"], second["version"])
    assert f"new.avsc is registered already, as v2 of {settings.subject}" in again.stdout
    assert [1, 2] == registered(settings)


def test_register_does_nothing_if_the_setting_forbids_it(settings: Settings) -> None:
    """--dry-run still checks."""
    settings = settings.model_copy(update={"register_schemas": False})
    done = register(settings, event.schema(1))
    dry = register(settings, event.schema(1), "--dry-run")

    assert (1, "", 0) == (done.exit_code, done.stdout, dry.exit_code)
    assert "STREAMAPP_REGISTER_SCHEMAS is false" in done.stderr
    assert [] == registered(settings)


def test_register_says_if_records_would_be_no_events(settings: Settings) -> None:
    """The registry takes any schema as the first version."""
    done = register(settings, record(TEXT), "--dry-run")

    assert 0 == done.exit_code
    assert "a worker makes records of new.avsc dead letters (incompatible-schema): user_id is missing" in done.stderr
