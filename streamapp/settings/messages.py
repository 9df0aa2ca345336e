"""Errors of settings as texts: which variable, what is wrong, an example; without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from streamapp.settings.names import variable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


def message(error: ErrorDetails, fields: Mapping[str, FieldInfo]) -> str:
    """Return the text for an error of pydantic."""
    name = str(error["loc"][0])
    field = fields[name]
    example = (field.examples or [""])[0]
    return f"{variable(name)} is invalid: {_problem(error, field)} Example: {variable(name)}={example}"


def _problem(error: ErrorDetails, field: FieldInfo) -> str:
    # The description says more about a valid value than the regular expression.
    if error["type"] == "string_pattern_mismatch":
        return f"{_redacted(error['input'])} does not match. {field.description}"
    text = error["msg"].removeprefix("Value error, ")
    is_secret = "SecretStr" in f"{field.annotation}{field.metadata}"
    return f"{text}." if is_secret else f"{_redacted(error['input'])}: {text}."


#: What may be a secret in a value, and what is printed in its place.
_SECRET_PARTS = (
    # User and password, with or without a scheme before them.
    (re.compile(r"^(\w[\w+.-]*://)?.*@", re.DOTALL), r"\1***@"),
    # The text after ? or #, which may be a token.
    (re.compile(r"([?#]).+", re.DOTALL), r"\1***"),
    # A part of a connection string such as `Endpoint=…;SharedAccessKey=…`, up to the next part.
    (
        re.compile(
            r"((?:key|secret|token|password|passwd|pwd|signature|\bsig)[\"']?\s*=).+?(?=[;,&]\s*\w+\s*=|\Z)",
            re.DOTALL | re.IGNORECASE,
        ),
        r"\1***",
    ),
)


def _redacted(value: object) -> str:
    """Return the value without what may be a secret."""
    if not isinstance(value, str):
        return repr(value)
    for pattern, replacement in _SECRET_PARTS:
        value = pattern.sub(replacement, value)
    return repr(value)
