"""The member of uv's workspace that holds every clone to the locked versions."""

# requirements.lock, which the constraints are taken from, is made by
#
#     uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group dev --group local \
#         --group benchmarks --group docs --no-emit-package streamapp-pipeline --no-annotate --no-header \
#         --output-file requirements.lock
#
# with --upgrade for newer versions.

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
    return TEXT.format(lines="\n".join(f'    "{line}",' for line in lock.read_text("utf-8").splitlines()))
