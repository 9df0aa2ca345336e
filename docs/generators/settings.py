"""The settings: `.env.example`, and the table of the reference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import SecretStr

from generators import services
from generators.markdown import escaped
from generators.markdown import table as markdown_table
from streamapp.settings import ENVIRONMENT_ONLY, PREFIX, Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_days": "days", "_records": "records"}
#: The limits that a field's metadata may hold, as they are written.
LIMITS = {"gt": "more than ", "ge": "at least ", "lt": "less than ", "le": "at most "}


def env_example() -> str:
    """Render each setting as a commented variable that holds its default."""
    head = (
        "# Copy to .env and uncomment what you change; a variable of the environment wins over this file.\n"
        "# At the end are blocks for services: Confluent Cloud, Amazon MSK, Azure Event Hubs, Aiven, Redpanda Cloud,\n"
        "# Strimzi, MongoDB Atlas.\n"
    )
    fields = {name: field for name, field in Settings.model_fields.items() if name not in ENVIRONMENT_ONLY}
    return "\n".join([head, *(_example(name, field) for name, field in fields.items()), services.env_blocks()])


def table() -> str:
    """Render the settings as a table."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return markdown_table(["variable", "default", "allowed", "meaning"], rows)


def _example(name: str, field: FieldInfo) -> str:
    default, unit = _default(field), _unit(name)
    shown = f"{default} {unit}".rstrip() if default else "unset"
    value = default or str((field.examples or [""])[0])
    return f"# {field.description}\n# Default: {shown}\n# {PREFIX}{name.upper()}={value}\n"


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    default, unit = _default(field), _unit(name)
    shown = f"`{default}` {unit}".rstrip() if default else "unset"
    return f"`{PREFIX}{name.upper()}`", shown, ", ".join(_allowed(field)), escaped(field.description or "")


def _allowed(field: FieldInfo) -> Iterator[str]:
    if get_origin(field.annotation) is Literal:
        yield " or ".join(f"`{value}`" for value in get_args(field.annotation))
    for limit in field.metadata:
        for name, words in LIMITS.items():
            if (bound := getattr(limit, name, None)) is not None:
                yield f"{words}{bound:,}"


def _default(field: FieldInfo) -> str:
    match field.default:
        case None:
            return ""
        case SecretStr() as secret:
            return secret.get_secret_value()
        case bool() as flag:
            return str(flag).lower()
        case datetime() as at:
            return at.isoformat().replace("+00:00", "Z")
        case value:
            return str(value)


def _unit(name: str) -> str:
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "")
