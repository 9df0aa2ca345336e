"""Schemas of a scenario are made from others, and events are written with them."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from typing import Any

import fastavro
import pytest

from streamapp.model.user_event import VERSIONS
from streamapp.samples import generator
from streamapp.scenarios.draws import schedule, shares
from streamapp.scenarios.evolved_schema import UnusableChangeError, evolve
from streamapp.scenarios.scenario import SchemaChange

LANGUAGE = '{"name": "language", "type": ["null", "string"], "default": null}'


def written(changes: Mapping[str, SchemaChange], name: str) -> Mapping[str, Any]:
    """Return the fields of an event of a schema, as a reader with the same schema gets them."""
    schema = evolve(changes)[name]
    source = random.Random(1)
    value = schema.writer(7)(schema.adapt(generator.example(VERSIONS[-1]).event(at=5), source))
    assert b"\0\0\0\0\7" == value[:5]
    found = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema.json, None)
    assert isinstance(found, dict)
    return found


def test_the_schemas_of_the_repository_are_there() -> None:
    """V1 writes a sample of V2 without its browser."""
    assert {"user_id", "event_type", "event_timestamp", "metadata"} == written({}, "v1").keys()
    assert written({}, "v2")["browser"]


def test_a_field_is_added_with_values() -> None:
    """One of an array is drawn."""
    change = SchemaChange(base="v2", add=[LANGUAGE], values={"language": ["de", "fr"]})

    assert written({"v3": change}, "v3")["language"] in {"de", "fr"}


def test_a_field_without_value_gets_its_default() -> None:
    """As any producer writes it."""
    assert written({"v3": SchemaChange(base="v2", add=[LANGUAGE])}, "v3")["language"] is None


def test_a_renamed_field_keeps_its_values_and_has_an_alias() -> None:
    """Also after a second change."""
    changes = {
        "a": SchemaChange(base="v2", rename={"browser": "client"}),
        "b": SchemaChange(base="a", rename={"client": "agent"}),
    }
    [field] = [field for field in evolve(changes)["b"].json["fields"] if field["name"] == "agent"]

    assert written(changes, "b")["agent"]
    assert ["browser", "client"] == field["aliases"]


def test_a_field_is_removed_and_another_one_gets_a_type() -> None:
    """With a value of that type."""
    change = SchemaChange(
        base="v2", remove=["browser"], change={"event_timestamp": '"string"'}, values={"event_timestamp": "noon"}
    )
    found = written({"x": change}, "x")

    assert "x" == evolve({"x": change})["x"].named.label
    assert "browser" not in found
    assert "noon" == found["event_timestamp"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (SchemaChange(base="v2", rename={"x": "y"}), "the base has no field 'x'; its fields: user_id, "),
        (SchemaChange(base="v2", add=["{"]), "it is not JSON"),
        (SchemaChange(base="v2", add=[LANGUAGE, LANGUAGE]), "is not a usable schema"),
        (SchemaChange(base="v2", add=['{"name": "x", "type": "string"}']), "no event can be written with it"),
    ],
)
def test_a_change_that_is_not_possible_is_refused(change: SchemaChange, error: str) -> None:
    """With the reason."""
    with pytest.raises(UnusableChangeError, match=error) as caught:
        evolve({"x": change})
    assert ("schemas", "x") == tuple(caught.value.path)[:2]


@pytest.mark.parametrize("count", [1, 7, 100])
def test_the_numbers_of_a_mix_add_up(count: int) -> None:
    """Whatever the fractions are."""
    found = shares(count, {"v1": 0.34, "v2": 0.33, "v3": 0.33})

    assert count == sum(found.values())
    assert max(found.values()) - min(found.values()) <= 1


def test_ten_percent_are_exact() -> None:
    """A lesson announces them."""
    assert {"v1": 90, "v2": 10} == shares(100, {"v1": 0.9, "v2": 0.1})


def test_a_seed_repeats_the_order() -> None:
    """Which is random."""
    first, second = (schedule(50, {"v1": 0.5, "v2": 0.5}, random.Random(3)) for _ in range(2))

    assert first == second
    assert {*first[:25]} == {"v1", "v2"}
