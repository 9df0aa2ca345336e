"""Write what is generated: `.env.example`, the README's settings table, `constraints/pyproject.toml`.

`python docs/generate.py` writes; `python docs/generate.py --check` names what is stale and exits with 1.
"""

# requirements.lock, which the constraints are taken from, is made by
#
#     uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev --group local \
#         --group benchmarks --no-emit-package streamapp-pipeline --no-annotate --no-header \
#         --output-file requirements.lock
#
# with --upgrade for newer versions.

from __future__ import annotations

import argparse
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from streamapp.settings import PREFIX, Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).parent.parent
CONSTRAINTS = """\
# Written by docs/generate.py from requirements.lock. Never installed: it is a member of uv's workspace, which uv locks
# as a whole, so that every clone gets the versions that were tested.
[project]
name = "streamapp-constraints"
version = "0"
requires-python = ">=3.11"
dependencies = [
{lines}
]

[tool.uv]
package = false
"""
UNITS = {"_seconds": "seconds", "_bytes": "bytes"}


def documents(root: Path) -> dict[Path, str]:
    """Return each generated file with the text that it should have."""
    readme = root / "README.md"
    return {
        root / ".env.example": env_example(),
        readme: _between(readme, "<!-- settings -->", "<!-- /settings -->", settings_table()),
        root / "constraints" / "pyproject.toml": constraints(root),
    }


def stale(root: Path) -> list[Path]:
    """Return the generated files that are not what they should be."""
    return [path for path, text in documents(root).items() if not path.exists() or path.read_text("utf-8") != text]


def env_example() -> str:
    """Render each setting as a commented variable that holds its default."""
    head = "# Copy to .env and uncomment what you change; a variable of the environment wins over this file.\n"
    return "\n".join([head, *(_example(name, field) for name, field in Settings.model_fields.items())])


def settings_table() -> str:
    """Render the settings as a table in Markdown."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["", "| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def constraints(root: Path) -> str:
    """Render the lock as a member of uv's workspace."""
    lines = (root / "requirements.lock").read_text("utf-8").splitlines()
    return CONSTRAINTS.format(lines="\n".join(f'    "{line}",' for line in lines))


def _example(name: str, field: FieldInfo) -> str:
    default, unit = _default(field), _unit(name)
    shown = f"{default} {unit}".rstrip() if default else "unset"
    value = default or str((field.examples or [""])[0])
    return f"# {field.description}\n# Default: {shown}\n# {PREFIX}{name.upper()}={value}\n"


def _row(name: str, field: FieldInfo) -> str:
    default, unit = _default(field), _unit(name)
    shown = f"`{default}` {unit}".rstrip() if default else "unset"
    return f"| `{PREFIX}{name.upper()}` | {shown} | {_markdown(field.description or '')} |"


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


def _markdown(text: str) -> str:
    return re.sub(r"([|*_$\\])", r"\\\1", text).replace("<", "&lt;")


def _between(path: Path, start: str, end: str, body: str) -> str:
    before, found_start, rest = path.read_text("utf-8").partition(f"{start}\n")
    _, found_end, after = rest.partition(f"{end}\n")
    if not (found_start and found_end):
        sys.exit(f"{path.name} has no lines '{start}' and '{end}' to write between.")
    return f"{before}{start}\n{body}\n{end}\n{after}"


def main() -> None:
    """Write the generated files, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is stale")
    if parser.parse_args().check:
        names = [path.relative_to(ROOT).as_posix() for path in stale(ROOT)]
        sys.exit(f"Stale: {', '.join(names)}. Run: python docs/generate.py" if names else 0)
    for path, text in documents(ROOT).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
