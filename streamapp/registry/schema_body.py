"""Read what the registry answers for a schema: its JSON, and the schemas that it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from streamapp.decode.avro_schema import UnreadableSchema, from_text
from streamapp.model.event import Schema

#: Schemas that one schema may refer to, directly or through others. A few dozens are usual.
MAX_REFERENCES = 1_000


class UnreadableReferenceError(Exception):
    """A schema refers to schemas that cannot be read; the message says why."""


class Reference(NamedTuple):
    """Subject and version of a schema that another one refers to."""

    subject: str
    version: str


class RegisteredSchema(NamedTuple):
    """A schema in JSON form, as the registry has it."""

    schema: Schema
    #: The schemas that it refers to by name, each after the schemas that it refers to.
    definitions: Sequence[Schema]
    #: Whether a schema that it refers to cannot be read; the registry may have it later.
    is_incomplete: bool = False
    #: None where the registry's answer does not name it.
    schema_id: int | None = None


def registered(body: Mapping[str, Any], fetch: Callable[[Reference], Mapping[str, Any]]) -> RegisteredSchema:
    """Return the schema with those that it refers to; UnreadableSchema in its place if one cannot be read.

    Args:
        body: the registry's answer for the schema; raises KeyError if it is not that of a schema.
        fetch: see `definitions`.
    """
    schema, schema_id = schema_in(body), body.get("id")
    try:
        return RegisteredSchema(schema, definitions(body, fetch), schema_id=schema_id)
    except UnreadableReferenceError as exc:
        return RegisteredSchema(UnreadableSchema(str(exc)), [], is_incomplete=True, schema_id=schema_id)


def schema_in(body: Mapping[str, Any]) -> Schema:
    """Return the schema in JSON form; raises KeyError if the body is not that of a schema."""
    return from_text(body["schema"], kind=body.get("schemaType"))


def definitions(body: Mapping[str, Any], fetch: Callable[[Reference], Mapping[str, Any]]) -> list[Schema]:
    """Return the schemas that a schema refers to, each once, and after those that it refers to itself.

    Args:
        body: the registry's answer for the schema.
        fetch: returns the registry's answer for a reference; called once for each.

    Raises:
        UnreadableReferenceError: a reference cannot be read, or there are more than MAX_REFERENCES.
    """
    seen: set[Reference] = set()
    found: list[Schema] = []
    # Not recursive: the chain may be longer than Python's stack.
    stack: list[tuple[Mapping[str, Any], Iterator[Reference]]] = [(body, _references(body))]
    while stack:
        current, pending = stack[-1]
        reference = next((each for each in pending if each not in seen), None)
        if reference is None:
            stack.pop()
            if stack:
                found.append(schema_in(current))
            continue
        seen.add(reference)
        if len(seen) > MAX_REFERENCES:
            message = f"it refers to more than {MAX_REFERENCES} other schemas"
            raise UnreadableReferenceError(message)
        referred = fetch(reference)
        stack.append((referred, _references(referred)))
    return found


def _references(body: Mapping[str, Any]) -> Iterator[Reference]:
    try:
        return iter([Reference(str(each["subject"]), str(each["version"])) for each in body.get("references") or ()])
    except (LookupError, TypeError) as exc:
        message = "its references do not name a subject and a version"
        raise UnreadableReferenceError(message) from exc
