"""What the documents say of the code is so: the places that they name exist, and none that matters is left out."""

from __future__ import annotations

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest
from generators import packages

from streamapp.scenarios.scenario_file import lessons

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md")), ROOT / "tests" / "README.md"]
#: `module`, or `module:name` with a name in it.
PLACES = re.findall(r"`(streamapp\.[\w.]+)(?::([\w.]+))?`", (DOCS / "glossary.md").read_text("utf-8"))
#: A path in a text: with a folder, and to a file or a folder.
PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|md|toml|avsc|yaml|svg))?)`")
#: Folders that a command creates, and that Git ignores.
CREATED = (ROOT / ".gitignore").read_text("utf-8").splitlines()
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CHECK = re.compile(r'\b(?:ok|warning|fault|skipped)\(\s*"([a-z]+\.[a-z0-9_]+)"|\bcheck = "([a-z]+\.[a-z0-9_]+)"')


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_path_in_a_document_exists(document: Path) -> None:
    """Relative to the repository, or to `streamapp/`; a changelog may name what is gone."""
    named = [] if document.name == "CHANGELOG.md" else PATH.findall(document.read_text("utf-8"))

    assert [] == [
        path
        for path in named
        if path not in CREATED and not any((root / path).exists() for root in (ROOT, ROOT / "streamapp"))
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_link_in_a_document_leads_somewhere(document: Path) -> None:
    """Relative to the document; the site's build checks the headings too."""
    links = LINK.findall(document.read_text("utf-8"))

    assert [] == [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_command_in_a_document_takes_a_connection_string_from_a_variable(document: Path) -> None:
    """The variable is empty if its `_FILE` is set, and the argument of a process would show the password."""
    assert [] == re.findall(
        r"^ *\$ .*\$\{?STREAMAPP_(?:DASHBOARD_)?MONGO_URI.*", document.read_text("utf-8"), re.MULTILINE
    )


def test_each_lesson_is_played_by_a_command_of_the_tutorial() -> None:
    """`tests/e2e/test_docs.py` runs the commands of its blocks that are not skipped."""
    page = (DOCS / "tutorial" / "schema-evolution.md").read_text("utf-8")
    run = re.sub(r"<!-- test: skip, .*?```console.*?```", "", page, flags=re.DOTALL)

    assert {*lessons()} <= {*re.findall(r"^\$ uv run streamapp scenario run (\S+)", run, re.MULTILINE)}


@pytest.mark.parametrize("kind", ["how-to", "reference", "explanation"])
def test_each_page_is_in_the_index_of_its_kind(kind: str) -> None:
    """Every page of a folder is linked from the folder's index."""
    pages = {page.name for page in (DOCS / kind).glob("*.md")} - {"index.md"}

    assert set() == pages - set(LINK.findall((DOCS / kind / "index.md").read_text("utf-8")))


@pytest.mark.parametrize(("module", "name"), PLACES)
def test_each_name_of_the_glossary_exists(module: str, name: str) -> None:
    """The module can be imported, and has the name."""
    found = importlib.import_module(module)

    assert not name or attrgetter(name)(found)


def test_each_term_of_the_glossary_names_its_code() -> None:
    """Every term says where in the code it lives."""
    terms = (DOCS / "glossary.md").read_text("utf-8").split("\n### ")[1:]

    assert [] == [term.splitlines()[0] for term in terms if "In the code: `streamapp." not in term]


def test_each_package_has_its_row_in_the_architecture() -> None:
    """Every package of streamapp and of the dashboard, with what it is for."""
    architecture = (DOCS / "explanation" / "architecture.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| \d+ \| (.*?) \|", architecture, re.MULTILINE))

    assert [] == [name for name in packages.packages() if not rows.get(name)]


def test_each_check_of_the_doctor_is_in_the_reference() -> None:
    """Every check that the code makes has its line."""
    reference = (DOCS / "reference" / "doctor.md").read_text("utf-8")
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "streamapp" / "doctor").rglob("*.py"))
    checks = {"".join(found) for found in CHECK.findall(sources)}

    assert len(checks) > 20
    assert set() == {check for check in checks if f"`{check}`" not in reference}
