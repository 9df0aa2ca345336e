"""The JSON form of a schema, read strictly."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

#: Characters of a value in a message.
_MAX_SHOWN: Final = 60


class UnusableSchemaError(ValueError):
    """Not a schema that the Avro specification allows; the message says where and why."""


def from_text(text: str) -> Any:
    """The JSON form of a schema file.

    Raises:
        UnusableSchemaError: it is not JSON, or an object has a key twice.
    """
    if not text.strip():
        raise UnusableSchemaError("it is empty")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise UnusableSchemaError("its JSON is nested too deeply") from None
    except UnusableSchemaError:
        raise
    except ValueError as exc:
        raise UnusableSchemaError(f"it is not JSON: {exc}") from None


def shown(value: Any) -> str:
    """A JSON value as messages show it, cut to a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnusableSchemaError(f"an object has the key {shown(twice)} twice")
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise UnusableSchemaError(f"it is not JSON: {text} is not a JSON number")
