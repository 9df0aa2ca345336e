"""The member of uv's workspace that holds every clone to the locked versions."""

from __future__ import annotations

from pathlib import Path

TEXT = """\
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


def project(lock: Path) -> str:
    """Render the lock as a project that requires its versions."""
    return TEXT.format(lines="\n".join(f'    "{line}",' for line in versions(lock)))


def versions(lock: Path) -> list[str]:
    """Return the requirements of a lock file, which `.ci/lock.py` writes, without their hashes."""
    lines = lock.read_text("utf-8").splitlines()
    return [line.removesuffix("\\").rstrip() for line in lines if not line.startswith(" ")]
