"""Find words that .ci/words.txt forbids, print each with its replacement, and exit with 1 if there is any.

`python .ci/words.py` looks at every file of the product, `python .ci/words.py PATH…` at these.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LOOKED_AT = ("streamapp", "dashboard", "tests", "docs", "benchmarks", "*.md", "*.toml", "*.yaml", ".github", ".ci/run")
#: Data and programs of others, and the examples of what is found.
LEFT_OUT = ("tests/data/", "dashboard/static/", "tests/unit/test_words.py")
#: In a phrase, a space may also be the end of a line and the start of the next line of a comment.
SPACE = r"\s+(?:#:?\s+)?"


class Rule(NamedTuple):
    """One line of the list."""

    section: str
    folder: str
    pattern: re.Pattern[str]
    replacement: str


def rules(text: str) -> list[Rule]:
    """Read the list.

    Raises:
        ValueError: a line is neither a heading nor a rule.
    """
    found: list[Rule] = []
    section = folder = ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"\[(phrases|names|files)(?: (\S+))?\]", line):
            section, folder = heading[1], heading[2] or ""
        elif line and not line.startswith("#"):
            pattern, arrow, replacement = line.rpartition(" => ")
            if not (arrow and section):
                raise ValueError(f"this line is no rule: {line}")
            found.append(Rule(section, folder, _compiled(section, pattern), replacement))
    return found


def problems(path: str, text: str, rules: list[Rule]) -> Iterator[str]:
    """Return where a file has what is forbidden, in its path or its text."""
    for rule in rules:
        if rule.section == "files" and rule.pattern.search(path):
            yield f"{path}: the name of the file; use: {rule.replacement}"
        elif rule.section != "files" and path.startswith(rule.folder):
            for match in rule.pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {' '.join(match[0].split())!r}; use: {rule.replacement}"


def _compiled(section: str, pattern: str) -> re.Pattern[str]:
    if section == "phrases":
        return re.compile(pattern.replace(" ", SPACE), re.IGNORECASE)
    return re.compile(pattern)


def _files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *LOOKED_AT]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if not path.startswith(LEFT_OUT) and (ROOT / path).is_file()]


def _text(path: str) -> str:
    try:
        return (ROOT / path).read_text("utf-8")
    except UnicodeDecodeError:  # an image
        return ""


def main() -> None:
    """Print the problems of the files that are named, else of all."""
    listed = rules((ROOT / ".ci" / "words.txt").read_text("utf-8"))
    found = [problem for path in sys.argv[1:] or _files() for problem in problems(path, _text(path), listed)]
    if found:
        print(*found, sep="\n")
        sys.exit(f"{len(found)} forbidden words; the list is .ci/words.txt")


if __name__ == "__main__":
    main()
