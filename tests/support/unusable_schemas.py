"""Schemas that the Avro specification does not allow, with words of the error, and what the registry makes of them.

`tests/integration/test_schema_verdicts.py` asks the registry of the local backend for each of them.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.support.schema_pairs import TEXT, array, enum, fixed, mapped, record


class Unusable(NamedTuple):
    """The text of a schema file that `schema check` refuses."""

    name: str
    text: str
    #: A part of the message.
    message: str
    #: Why the registry accepts it; empty if it refuses it as well.
    registry_accepts: str = ""


def as_json(name: str, schema: Any, message: str, registry_accepts: str = "") -> Unusable:
    """Return a schema that is JSON."""
    return Unusable(name, json.dumps(schema), message, registry_accepts)


B = record(TEXT, name="B")
NO_VALUE = "Avro's Java library checks the JSON type of a default, not its value: reading it fails."

UNUSABLE = [
    Unusable("no JSON", "{", "is not JSON"),
    Unusable("a word", "string", "is not JSON"),
    Unusable("text after the schema", '"string" x', "is not JSON"),
    Unusable("NaN", '{"type":"record","name":"A","fields":[{"name":"a","type":"double","default":NaN}]}', "NaN"),
    Unusable("nothing", "", "it is empty", "The registry stores an empty text, as which no record can be read."),
    Unusable(
        "a comment", '/* c */ "string"', "is not JSON", "Avro's Java library reads comments, which JSON does not have."
    ),
    Unusable(
        "a key twice",
        '{"type":"record","name":"A","name":"B","fields":[]}',
        'the key "name" twice',
        "Avro's Java library takes the last one without a word.",
    ),
    as_json("a number", 3, "a type is a text, an object or an array"),
    as_json("null", None, "a type is a text, an object or an array"),
    as_json("no type", {"name": "x"}, "an object without a type"),
    as_json("a protocol", {"protocol": "P", "types": []}, "an object without a type"),
    as_json("an unknown type", {"type": "tuple"}, 'not "tuple"'),
    as_json("an object as a type", record(("a", {"type": {"type": "string"}})), "a: the type of an object is one of"),
    as_json("an array as a type", {"type": ["null", "string"]}, "the type of an object is one of"),
    as_json("a name as a type", record(("a", B), ("b", {"type": "B"})), "b: the type of an object is one of"),
    as_json("an undefined name", record(("a", "Foo")), 'a: the type "Foo" is not defined'),
    as_json("no name", {"type": "record", "fields": []}, "needs a name"),
    as_json("an empty name", record(TEXT, name=""), "needs a name"),
    as_json("a hyphen in a name", record(TEXT, name="a-b"), 'the name "a-b" is illegal'),
    as_json("a digit at the begin of a name", record(TEXT, name="1a"), 'the name "1a" is illegal'),
    as_json("a hyphen in a namespace", record(TEXT, namespace="a-b"), 'the name "a-b.R" is illegal'),
    as_json("a gap in a namespace", record(TEXT, namespace="a..b"), "is illegal"),
    as_json(
        "a namespace that is a number", record(TEXT, namespace=1), "the namespace of R is a text", "Java ignores it."
    ),
    as_json("a hyphen in a field", record(("a-b", "int")), 'the name "a-b" of a field is illegal'),
    as_json("a name after a primitive type", record(TEXT, name="string"), "is that of a primitive type"),
    as_json("a definition twice", record(("a", B), ("b", record(("x", "int"), name="B"))), "b: B is defined twice"),
    as_json("no fields", {"type": "record", "name": "R"}, "needs an array of fields"),
    as_json("a field that is a text", {"type": "record", "name": "R", "fields": ["a"]}, "a field of R is an object"),
    as_json("a field without a type", record({"name": "a"}), "a: the field has no type"),
    as_json("a field without a name", record({"type": "int"}), "a field of R needs a name"),
    as_json("a field twice", record(TEXT, TEXT), 'has the field "a" twice'),
    as_json("a nested field twice", record(("m", record(TEXT, TEXT, name="M"))), 'm: record M has the field "a" twice'),
    as_json("an unknown order", record({"name": "a", "type": "int", "order": "up"}), "a: the order of a field"),
    as_json(
        "an alias that is no array", record({"name": "a", "type": "int", "aliases": "b"}), "a: aliases are an array"
    ),
    as_json(
        "an alias that is a number", record({"name": "a", "type": "int", "aliases": [1]}), "a: aliases are an array"
    ),
    as_json("no symbols", {"type": "enum", "name": "E"}, "needs an array of symbols"),
    as_json("a symbol that is a number", enum(1), "needs an array of symbols"),  # pyright: ignore[reportArgumentType]
    as_json("a hyphen in a symbol", enum("a-b"), 'the symbol "a-b" of enum E is illegal'),
    as_json("a symbol twice", enum("a", "a"), 'enum E has the symbol "a" twice'),
    as_json("a default symbol that is none", enum("a", default="b"), "is not one of its symbols"),
    as_json("no size", {"type": "fixed", "name": "F"}, "needs a size"),
    as_json("a negative size", fixed(-1), "needs a size"),
    as_json("a size that is a text", {"type": "fixed", "name": "F", "size": "4"}, "needs a size"),
    as_json("a size with a fraction", {"type": "fixed", "name": "F", "size": 1.5}, "needs a size"),
    as_json("an array without items", {"type": "array"}, "needs items"),
    as_json("a map without values", {"type": "map"}, "needs values"),
    as_json("a union in a union", record(("a", ["null", ["int", "string"]])), "a: a union has a union as a branch"),
    as_json("a branch twice", record(("a", ["int", "int"])), 'has the branch "int" twice'),
    as_json("two arrays in a union", record(("a", [array("int"), array("string")])), 'has the branch "array" twice'),
    as_json("a named branch twice", record(("a", [fixed(4), "F"])), 'has the branch "F" twice'),
    as_json("a text as a default of int", record(("a", "int", "x")), 'a: the default "x" is not an integer'),
    as_json("a fraction as a default of int", record(("a", "int", 1.0)), "a: the default 1.0 is not an integer"),
    as_json("a boolean as a default of int", record(("a", "int", True)), "a: the default true is not an integer"),
    as_json("a default that int cannot hold", record(("a", "int", 2**31)), "is not an integer of 32 bits"),
    as_json("a default that long cannot hold", record(("a", "long", 2**63)), "is not an integer of 64 bits"),
    as_json("null as a default of string", record(("a", "string", None)), "a: the default null is not a text"),
    as_json("a number as a default of boolean", record(("a", "boolean", 0)), "a: the default 0 is not a boolean"),
    as_json("a default of no branch", record(("a", ["string", "null"], 1)), "a: the default 1 fits no branch"),
    as_json("a default without a field", record(("a", B, {})), "a: the default {} lacks a"),
    as_json("a default that is no object", record(("a", B, 1)), "a: the default 1 is not an object"),
    as_json("a default with a wrong item", record(("a", array("int"), ["x"])), 'a: the default "x" is not an integer'),
    as_json("a default that is no array", record(("a", array("int"), {})), "a: the default {} is not an array"),
    as_json(
        "a default with a wrong value", record(("a", mapped("int"), {"x": "y"})), 'a: the default "y" is not an integer'
    ),
    as_json("a default that is no map", record(("a", mapped("int"), [])), "a: the default [] is not an object"),
    as_json("a wrong default in a nested record", record(("a", B, {"a": 1})), "a: the default a: 1 is not a text"),
    as_json("a default without an end", record(("a", "R", {})), "nested too deeply"),
    as_json("a default of an enum that is no symbol", record(("a", enum("X"), "Y")), 'a: the default "Y"', NO_VALUE),
    as_json("a default of a fixed of another size", record(("a", fixed(4), "ab")), "has 2 bytes, not 4", NO_VALUE),
    as_json("a default of a fixed that is no text", record(("a", fixed(4), 1)), "the default 1 is not a text"),
    as_json("a default of bytes beyond U+00FF", record(("a", "bytes", "\u0100")), "a: the default", NO_VALUE),
    as_json(
        "a text as a default of double",
        record(("a", "double", "1.5")),
        'a: the default "1.5" is not a number',
        "Avro's Java library reads it as a number; other libraries do not.",
    ),
    as_json(
        "a name before its definition",
        record(("a", ["null", "B"]), ("b", B)),
        'a: the type "B" is used before it is defined',
        "Avro's Java library reads it since 1.12; other libraries do not.",
    ),
    as_json(
        "a definition repeated word by word",
        record(("a", B), ("b", B)),
        "b: B is defined twice",
        "Avro's Java library reads it since 1.12; other libraries do not.",
    ),
    as_json(
        "letters outside ASCII",
        record(TEXT, name="Ünï"),
        "is illegal",
        "Avro's Java library allows all letters of Unicode; other libraries do not.",
    ),
    as_json(
        "a primitive type in a namespace",
        record(TEXT, name="x.string"),
        "is that of a primitive type",
        "Avro's Java library allows it with a namespace.",
    ),
    as_json(
        "an order in capital letters",
        record({"name": "a", "type": "int", "order": "IGNORE"}),
        "a: the order of a field",
        "Avro's Java library does not distinguish capital letters here.",
    ),
]
