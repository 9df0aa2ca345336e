"""The packages in the order of the import contracts: what each is for, by its docstring, and what it imports."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import grimp

from generators.markdown import escaped
from generators.markdown import table as markdown_table

ROOT = Path(__file__).parents[2]
ROOTS = ("streamapp", "dashboard")


def table() -> str:
    """Render the layers from the top, each package and module of a layer in a row of its own."""
    imported = imports()
    rows = [
        (f"`{name}`", str(number), escaped(_purpose(name)), _shown(imported[name]))
        for root in ROOTS
        for number, layer in enumerate(_layers(root), start=1)
        for name in layer
    ]
    return markdown_table(["package or module", "layer", "what it is for", "imports"], rows)


def imports() -> Mapping[str, set[str]]:
    """Return each package, and each module outside of them, with those that it imports."""
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        imported = {_package(name) for name in graph.find_modules_directly_imported_by(module)}
        found.setdefault(_package(module), set()).update(imported - {_package(module), *ROOTS})
    return found


def packages() -> Iterable[str]:
    """Return the names of all packages below the two roots."""
    return sorted(f"{root}.{path.parent.name}" for root in ROOTS for path in (ROOT / root).glob("*/__init__.py"))


def _layers(root: str) -> Iterator[list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    contract = next(each for each in contracts if each.get("containers") == [root])
    for layer in contract["layers"]:
        yield [f"{root}.{name}" for name in layer.split(" | ")]


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _purpose(name: str) -> str:
    path = ROOT / name.replace(".", "/")
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.removeprefix('streamapp.')}`" for name in sorted(names)) or "–"
