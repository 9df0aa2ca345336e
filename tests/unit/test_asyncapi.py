"""The AsyncAPI document of the topics, held to the specification and to what a worker writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from streamapp.kafka.dead_letter_producer import headers_of
from streamapp.model import event
from streamapp.model.omitted import OMITTED_HEADERS
from streamapp.model.record import HEADER_PREFIX
from streamapp.model.user_event import VERSIONS
from tests.support.factories import a_letter

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "reference" / "asyncapi.yaml").read_text("utf-8"))
MESSAGES = DOCUMENT["components"]["messages"]


def found_at(reference: str) -> Any:
    """Return what a local reference points to."""
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(part: Any) -> list[str]:
    """Return all references in a part of the document, without those of schemas."""
    if isinstance(part, list):
        return [reference for each in part for reference in references(each)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if "$ref" in part else []
    return own + [reference for each in part.values() for reference in references(each)]


def test_document_follows_the_specification() -> None:
    """Also the parts that only Kafka has, and the Avro schemas in it."""
    schema = json.loads((ROOT / "tests" / "data" / "asyncapi-3.0.0.json").read_text("utf-8"))

    jsonschema.Draft7Validator(schema).validate(DOCUMENT)


def test_each_reference_exists() -> None:
    """The specification's schema does not check that."""
    assert references(DOCUMENT)
    for reference in references(DOCUMENT):
        assert found_at(reference), reference


def test_events_have_the_schemas_that_the_registry_has() -> None:
    """One message for each version."""
    schemas = [MESSAGES[f"userEventV{version}"]["payload"]["schema"] for version in VERSIONS]
    assert [event.schema(version) for version in VERSIONS] == schemas


def test_dead_letters_have_the_headers_that_a_worker_writes() -> None:
    """Those of each letter are required; those of signed and of cut letters are known."""
    letter, at = a_letter(), datetime.now(UTC)
    written = {name for name, _ in headers_of(letter, failed_at=at)}
    signed = {name for name, _ in headers_of(letter, failed_at=at, signing_key=b"k")}
    headers = MESSAGES["deadLetter"]["headers"]

    assert written == {*headers["required"]}
    assert signed | {f"{HEADER_PREFIX}{name}" for name in OMITTED_HEADERS} == headers["properties"].keys()
