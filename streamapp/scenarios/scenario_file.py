"""Read scenarios: those of streamapp by their name, and files of others by their path."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamapp.errors import StreamappError
from streamapp.scenarios.evolved_schema import UnusableChangeError, evolve
from streamapp.scenarios.scenario import Scenario, complaints
from streamapp.scenarios.toml_lines import line_of

_SUFFIX = ".toml"
#: Name of the commented file that `scenario new` writes.
TEMPLATE = "template"
#: pydantic's types of errors → what to say.
_WORDS = {
    "missing": "is missing",
    "is_instance_of": "should be an array",
    "sequence_str": "should be an array",
    "mapping_type": "should be a table",
    "model_type": "should be a table",
    "extra_forbidden": "is unknown here: correct its name, or remove it",
}


class UnusableScenario(StreamappError):  # noqa: N818 - named by what it is
    """A scenario cannot be read; the message has file, line and key."""


def lessons() -> Mapping[str, Path]:
    """Return the scenarios of streamapp by name."""
    folder = Path(str(files("streamapp.scenarios"))) / "lessons"
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}")) if path.stem != TEMPLATE}


def template() -> str:
    """Return the text of a new scenario."""
    return (Path(str(files("streamapp.scenarios"))) / "lessons" / f"{TEMPLATE}{_SUFFIX}").read_text("utf-8")


def load(name: str) -> Scenario:
    """Read a scenario of streamapp by name, or a file whose path ends in `.toml`.

    Raises:
        UnusableScenario: there is none, or it has an error.
    """
    path = Path(name) if name.endswith(_SUFFIX) else lessons().get(name)
    if path is None:
        raise UnusableScenario(f"There is no scenario {name!r}. Scenarios: {', '.join(lessons())}, or a file {_SUFFIX}")
    try:
        text = path.read_text("utf-8")
    except OSError as exc:
        raise UnusableScenario(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise UnusableScenario(f"{path} is not text in UTF-8: {exc.reason} at byte {exc.start}") from exc
    return parse(text, name=path.name)


def parse(text: str, *, name: str) -> Scenario:
    """Parse the text of a scenario file.

    Raises:
        UnusableScenario: it has errors; the message names all of them.
    """
    try:
        scenario = Scenario.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise UnusableScenario(f"{name} is not TOML: {exc}") from exc
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_context=False)
        raise _unusable(name, text, [(_path(each), _what(each)) for each in errors]) from exc
    if found := [*complaints(scenario)]:
        raise _unusable(name, text, found)
    try:
        evolve(scenario.schemas)
    except UnusableChangeError as exc:
        raise _unusable(name, text, [(exc.path, str(exc))]) from exc
    return scenario


def _path(error: Mapping[str, Any]) -> Sequence[str | int]:
    # The last part may name a branch of a union, or a key that is wrong itself.
    return [part for part in error["loc"] if part != "[key]" and not str(part).startswith(("literal[", "str-enum"))]


def _what(error: Mapping[str, Any]) -> str:
    given = "" if isinstance(error["input"], dict) else f", not {error['input']!r}"
    return _WORDS.get(error["type"]) or f"{error['msg'].removeprefix('Input ')}{given}"


def _unusable(name: str, text: str, found: Sequence[tuple[Sequence[str | int], str]]) -> UnusableScenario:
    lines = [_line(text, path, what) for path, what in found]
    return UnusableScenario(
        f"{name} is not a usable scenario:\n" + "\n".join(f"  {line}" for line in dict.fromkeys(lines))
    )


def _line(text: str, path: Sequence[str | int], what: str) -> str:
    number = line_of(text, path)
    at = "" if number is None else f"line {number}, "
    return f"{at}{_shown(path)}: {what}"


def _shown(path: Sequence[str | int]) -> str:
    """`step 2: send.mix`: people count from one."""
    if len(path) > 1 and path[0] == "steps":
        rest = ".".join(map(str, path[2:]))
        return f"step {int(path[1]) + 1}{f': {rest}' if rest else ''}"
    return ".".join(map(str, path))
