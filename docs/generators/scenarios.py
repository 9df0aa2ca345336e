"""The keys of a scenario file, from the classes that read it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generators.markdown import escaped, table
from streamapp.scenarios.scenario import Expect, Scenario, SchemaChange, Send, Step
from streamapp.scenarios.scenario_file import lessons, load

#: Heading → the class of the table.
_TABLES: Mapping[str, type[BaseModel]] = {
    "The file": Scenario,
    "`[schemas.NAME]`": SchemaChange,
    "`[[steps]]`": Step,
    "`[steps.send]`": Send,
    "`[steps.expect]`": Expect,
}


def keys() -> str:
    """Render a table for each table of the file."""
    return "\n\n".join(f"### {heading}\n\n{_rows(model)}" for heading, model in _TABLES.items())


def _rows(model: type[BaseModel]) -> str:
    rows = [
        (f"`{field.alias or name}`", _default(field), escaped(field.description or ""))
        for name, field in model.model_fields.items()
    ]
    return table(["key", "default", "meaning"], rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{value}`" if isinstance(value, (int, float)) and not isinstance(value, bool) and value else ""


def lesson_table() -> str:
    """Render the lessons of streamapp."""
    found = {name: load(name) for name in lessons()}
    rows = [(f"`{name}`", escaped(one.title), escaped(" ".join(one.summary.split()))) for name, one in found.items()]
    return table(["scenario", "title", "what one learns"], rows)
