"""The data of user events agree with the schemas; a new field needs nothing else than its data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamapp.model import event, user_event
from streamapp.model.user_event import FIELDS, TIME, USER, VERSIONS, WRITER_FIELDS
from streamapp.samples.generator import DRAWS

ROOT = Path(__file__).parents[3]
#: What the documentation says a counted field takes: an entry at the end of FIELDS, and weights for the samples.
NEW_VERSION = VERSIONS[-1] + 1
ENTRY = f'Dimension(path="campaign", since={NEW_VERSION}, plural="campaigns", title="Campaign", chart="Campaigns")'
WEIGHTS = '"campaign": weighted(spring=60, summer=40)'


def types(record: dict[str, Any], parent: str = "") -> dict[str, Any]:
    """Return the type of each field of a schema, by path."""
    found: dict[str, Any] = {}
    for field in record["fields"]:
        path, type_ = f"{parent}{field['name']}", field["type"]
        found |= types(type_, f"{path}.") if isinstance(type_, dict) else {path: type_}
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_schema_has_the_fields_of_its_version(version: int) -> None:
    """Fields of later versions are nullable, so that they are compatible with earlier ones."""
    expected = {
        field.path: ["null", field.type] if field.is_optional else field.type
        for field in WRITER_FIELDS
        if field.since <= version
    }

    assert expected == types(event.schema(version))


def test_there_is_no_schema_of_a_version_without_a_field() -> None:
    """VERSIONS follows from the fields."""
    files = {path.name for path in (ROOT / "schemas").glob("*.avsc")}

    assert {f"user_event_v{version}.avsc" for version in VERSIONS} == files


def test_samples_have_a_value_of_every_field() -> None:
    """Except the time, which the sender sets."""
    assert {field.path for field in WRITER_FIELDS} - {TIME} == {*DRAWS}


def test_time_user_and_main_dimension_are_fields() -> None:
    """They are given by name."""
    assert {TIME, USER} <= {field.path for field in FIELDS}
    assert user_event.MAIN_DIMENSION in {each.plural for each in user_event.CHARTS}
    assert user_event.ADOPTED_VERSION in VERSIONS


def test_a_new_counted_field_takes_a_schema_an_entry_and_weights(tmp_path: Path) -> None:
    """It is decoded on the fast path, stored, counted, recounted, filtered, charted and exported."""
    for package in ("streamapp", "dashboard", "schemas"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    schema = event.schema(VERSIONS[-1])
    campaign = {"name": "campaign", "type": ["null", "string"], "default": None}
    (tmp_path / f"schemas/user_event_v{NEW_VERSION}.avsc").write_text(
        json.dumps({**schema, "fields": [*schema["fields"], campaign]}), encoding="utf-8"
    )
    append(tmp_path / "streamapp/model/user_event.py", ENTRY, begin="\nFIELDS = (\n", end="\n)\n")
    append(tmp_path / "streamapp/samples/generator.py", WEIGHTS, begin="\nDRAWS: Mapping[str, Draw] = {\n", end="\n}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}

    done = subprocess.run(
        [sys.executable, "-m", "tests.support.new_field"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, f"{tmp_path}/streamapp/model/user_event.py") == (done.returncode, done.stdout.strip()), done.stderr


def append(path: Path, line: str, *, begin: str, end: str) -> None:
    """Add a line as the last one of a collection in a file."""
    before, start, after = path.read_text(encoding="utf-8").partition(begin)
    entries, stop, rest = after.partition(end)
    assert start
    assert stop
    path.write_text(f"{before}{start}{entries}\n    {line},{stop}{rest}", encoding="utf-8")
