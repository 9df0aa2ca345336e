"""The schemas of a scenario, and events that are written with them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro

from streamapp.compatibility.json_form import UnusableSchemaError, from_text
from streamapp.compatibility.validity import parse
from streamapp.decode import wire_format
from streamapp.evolution.sources import NamedSchema
from streamapp.model import event
from streamapp.model.event import Event, Schema
from streamapp.model.user_event import VERSIONS
from streamapp.samples import generator
from streamapp.scenarios.scenario import OURS, SchemaChange


class UnusableChangeError(ValueError):
    """A schema of a scenario cannot be made; the message says why."""

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolvedSchema:
    """A schema of a scenario."""

    name: str
    json: Schema
    #: Turns a sample of the latest version into an event of this schema, with values from a source of random numbers.
    adapt: Callable[[Event, random.Random], Event]

    @property
    def named(self) -> NamedSchema:
        """The schema, to be registered."""
        return NamedSchema(label=self.name, parsed=parse(self.json), json=self.json)

    def writer(self, schema_id: int) -> Callable[[Event], bytes]:
        """Return a function that writes an event of this schema."""
        parsed = fastavro.parse_schema(copy.deepcopy(self.json), named_schemas={})
        return lambda value: wire_format.write(value, schema=parsed, schema_id=schema_id)


def evolve(changes: Mapping[str, SchemaChange]) -> Mapping[str, EvolvedSchema]:
    """Return the schemas of this repository and those that are made of them, by name.

    Raises:
        UnusableChangeError: a change does not fit its schema, or no event can be written with the result.
    """
    found = {
        name: EvolvedSchema(name=name, json=event.schema(version), adapt=lambda value, _: value)
        for name, version in OURS.items()
    }
    for name, change in changes.items():
        found[name] = _evolved(name, change, found[change.base])
        _try_out(found[name])
    return found


def _evolved(name: str, change: SchemaChange, base: EvolvedSchema) -> EvolvedSchema:
    schema = copy.deepcopy(base.json)
    fields: list[dict[str, Any]] = schema["fields"]
    for old, new in change.rename.items():
        field = _field(fields, old, name, "rename")
        field |= {"name": new, "aliases": [*field.get("aliases", ()), old]}
    for field_name, type_ in change.change.items():
        _field(fields, field_name, name, "change")["type"] = _json(type_, name, "change")
    for field_name in change.remove:
        fields.remove(_field(fields, field_name, name, "remove"))
    fields += [_json(text, name, "add") for text in change.add]
    try:
        parse(schema)
    except UnusableSchemaError as exc:
        raise UnusableChangeError(("schemas", name), f"is not a usable schema: {exc}") from exc
    return EvolvedSchema(name=name, json=schema, adapt=lambda value, source: _adapted(base, change, value, source))


def _field(fields: Sequence[dict[str, Any]], wanted: str, name: str, key: str) -> dict[str, Any]:
    for field in fields:
        if field["name"] == wanted:
            return field
    names = ", ".join(field["name"] for field in fields)
    raise UnusableChangeError(("schemas", name, key), f"the base has no field {wanted!r}; its fields: {names}")


def _json(text: str, name: str, key: str) -> Any:
    try:
        return from_text(text)
    except UnusableSchemaError as exc:
        raise UnusableChangeError(("schemas", name, key), str(exc)) from exc


def _adapted(base: EvolvedSchema, change: SchemaChange, value: Event, source: random.Random) -> Event:
    before = base.adapt(value, source)
    renamed = {change.rename.get(name, name): each for name, each in before.items()}
    return renamed | {
        name: source.choice(each) if isinstance(each, list) else each for name, each in change.values.items()
    }


def _try_out(schema: EvolvedSchema) -> None:
    value = schema.adapt(generator.example(VERSIONS[-1]).event(at=0), random.Random(0))  # noqa: S311 - sample data
    try:
        schema.writer(1)(value)
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        message = f"no event can be written with it: {exc}; give the new fields [schemas.{schema.name}.values]"
        raise UnusableChangeError(("schemas", schema.name), message) from exc
