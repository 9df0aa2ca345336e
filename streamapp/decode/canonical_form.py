"""The Parsing Canonical Form of a schema: equal forms read the same bytes.

Source: Avro specification 1.12, "Parsing Canonical Form for Schemas".
"""

from __future__ import annotations

import json

from streamapp.decode.avro_schema import AvroType


def canonical_form(type_: AvroType) -> str:
    """The form as JSON text."""
    return _canonical(type_, set())


def _canonical(type_: AvroType, seen: set[str]) -> str:
    if type_.kind == "union":
        return f"[{','.join(_canonical(part, seen) for part in type_.parts)}]"
    if type_.kind in {"array", "map"}:
        key = "items" if type_.kind == "array" else "values"
        return f'{{"type":"{type_.kind}","{key}":{_canonical(type_.parts[0], seen)}}}'
    if not type_.name:
        return _json(type_.kind)
    if type_.name in seen:
        return _json(type_.name)
    seen.add(type_.name)
    return f'{{"name":{_json(type_.name)},"type":"{type_.kind}",{_contents(type_, seen)}}}'


def _contents(type_: AvroType, seen: set[str]) -> str:
    if type_.kind == "enum":
        return f'"symbols":[{",".join(map(_json, type_.symbols))}]'
    if type_.kind == "fixed":
        return f'"size":{type_.size}'
    fields = (f'{{"name":{_json(name)},"type":{_canonical(each, seen)}}}' for name, each in type_.fields)
    return f'"fields":[{",".join(fields)}]'


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
