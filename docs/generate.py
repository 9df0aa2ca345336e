"""Write what is generated from the code: `.env.example`, the constraints, the AsyncAPI document, blocks of pages.

A document asks for a block by its name in `BLOCKS`, and everything between the two lines is replaced:

    <!-- generated: settings -->
    <!-- /generated -->

`python docs/generate.py` writes; `python docs/generate.py --check` names what is stale and exits with 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from generators import (
    asyncapi,
    commands,
    constraints,
    dashboard,
    dead_letters,
    errors,
    events,
    faults,
    licences,
    metrics,
    packages,
    rights,
    scenarios,
    schema_changes,
    services,
    settings,
)

ROOT = Path(__file__).parent.parent
BLOCKS: Mapping[str, Callable[[], str]] = {
    "command-overview": commands.overview,
    "commands": commands.sections,
    "dashboard-parameters": dashboard.parameters,
    "dead-letter-headers": dead_letters.headers,
    "dead-letter-reasons": dead_letters.reasons,
    "dead-letter-states": dead_letters.states,
    "errors": errors.table,
    "event-document": events.fields,
    "faults": faults.table,
    "licences": licences.table,
    "metrics": metrics.table,
    "packages": packages.table,
    "rights-kafka": rights.kafka,
    "rights-mongodb": rights.mongodb,
    "scenario-keys": scenarios.keys,
    "scenario-lessons": scenarios.lesson_table,
    "schema-changes": schema_changes.table,
    "services": services.sections,
    "settings": settings.table,
}
_BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- /generated -->\n)", re.DOTALL)


def documents(root: Path) -> dict[Path, str]:
    """Return each generated file with the text that it should have."""
    pages = [*root.glob("*.md"), *sorted((root / "docs").rglob("*.md"))]
    texts = {page: page.read_text("utf-8") for page in pages}
    return {
        root / ".env.example": settings.env_example(),
        root / "docs" / "reference" / "asyncapi.yaml": asyncapi.document(),
        root / "constraints" / "pyproject.toml": constraints.project(root / "requirements.lock"),
        **{page: _filled(text) for page, text in texts.items() if _BLOCK.search(text)},
    }


def stale(root: Path) -> list[Path]:
    """Return the generated files that are not what they should be."""
    return [path for path, text in documents(root).items() if not path.exists() or path.read_text("utf-8") != text]


def _filled(text: str) -> str:
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def main() -> None:
    """Write the generated files, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is stale")
    if parser.parse_args().check:
        names = [path.relative_to(ROOT).as_posix() for path in stale(ROOT)]
        sys.exit(f"Stale: {', '.join(names)}. Run: python docs/generate.py" if names else 0)
    for path, text in documents(ROOT).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
