"""Random pairs of schemas: the verdict against two other libraries, and against data that is really read."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse as avro_parse
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from streamapp.compatibility.rules import faults_of
from streamapp.compatibility.validity import parse
from tests.support.schema_strategies import pairs, schemas, values


def is_readable(writer: Any, reader: Any) -> bool:
    """Return our verdict."""
    return not faults_of(parse(reader).root, parse(writer).root)


@settings(max_examples=300)
@given(st.one_of(pairs(), st.tuples(schemas(), schemas())))
def test_the_verdict_is_that_of_apache_avro_for_python(pair: tuple[Any, Any]) -> None:
    """Its comparison is a translation of the one in Java."""
    old, new = pair

    for writer, reader in ((old, new), (new, old)):
        found = ReaderWriterCompatibilityChecker().get_compatibility(
            avro_parse(json.dumps(reader)), avro_parse(json.dumps(writer))
        )
        assert is_readable(writer, reader) == (found.compatibility is SchemaCompatibilityType.compatible)


@settings(max_examples=300)
@given(st.data(), pairs())
def test_what_is_compatible_can_be_read(data: st.DataObject, pair: tuple[Any, Any]) -> None:
    """Every value that the writer's schema describes is decoded under the reader's schema."""
    writer, reader = pair
    event(f"readable: {is_readable(writer, reader)}")
    assume(is_readable(writer, reader))
    value = data.draw(values(writer))
    parsed = fastavro.parse_schema(copy.deepcopy(writer), named_schemas={})
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, value)

    body.seek(0)
    fastavro.schemaless_reader(body, parsed, fastavro.parse_schema(copy.deepcopy(reader), named_schemas={}))
    assert not body.read()
