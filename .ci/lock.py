"""Write the lock files, each package with the hashes of its files: `uv run python .ci/lock.py [--upgrade]`.

requirements.lock has everything that a checkout uses. The files in locks/ are parts of it with the same versions: what
the image of the worker needs, what the image of the dashboard needs, and what builds the wheel.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
# Hosts and folders of the machine on which this runs do not get into the files.
OPTIONS = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")
GROUPS = ("dev", "local", "benchmarks", "docs")

#: Dependencies that only the dashboard imports.
DASHBOARD_ONLY = frozenset({"plotly", "streamlit"})
#: Dependencies that the dashboard does not import; an import contract in pyproject.toml checks most of them.
WORKER_ONLY = frozenset(
    {
        "aiokafka",
        "confluent-kafka",
        "fastavro",
        "faust-streaming",
        "lz4",
        "mode-streaming",
        "prometheus-client",
        "python-schema-registry-client",
        "uvloop",
        "zstandard",
    }
)


def main(options: Iterable[str]) -> None:
    """Write requirements.lock, then its parts."""
    everything = ["--all-extras", *(f"--group={group}" for group in GROUPS), "--no-emit-package=streamapp-pipeline"]
    _compile(LOCK, "pyproject.toml", *everything, *options)
    for name, requirements in parts().items():
        _compile(ROOT / "locks" / f"{name}.lock", "-", f"--constraint={LOCK}", text="\n".join(requirements))


def parts() -> dict[str, list[str]]:
    """Return the requirements of each part of the lock, by the name of its file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    dependencies: list[str] = project["project"]["dependencies"]
    return {
        "worker": [each for each in dependencies if _name(each) not in DASHBOARD_ONLY],
        "dashboard": [each for each in dependencies if _name(each) not in WORKER_ONLY],
        "build": project["build-system"]["requires"],
    }


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].rstrip("~").lower()


def _compile(output: Path, source: str, *options: str, text: str | None = None) -> None:
    command = ["uv", "pip", "compile", source, *OPTIONS, *options, "--output-file", str(output)]
    subprocess.run(command, cwd=ROOT, input=text, text=True, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1:])
