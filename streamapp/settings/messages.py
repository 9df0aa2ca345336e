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


def _redacted(value: object) -> str:
    """Return the value without user and password, and without the text after ? or #, which may be a token."""
    return re.sub(r"([?#]).+(?=.$)", r"\1***", re.sub(r"//.*@", "//***@", repr(value)))
