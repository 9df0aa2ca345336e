"""An engine, the two images, and a copy of the checkout with files that must not get into an image."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import ROOT, Engine, NoEngineError, obtain

#: Files that people have in their checkout, and what the images must not contain.
PRIVATE = (
    ".env",
    "streamapp/.env.local",
    "dashboard/.streamlit/secrets.toml",
    "dashboard/secrets.toml",
    "schemas/.venv/pyvenv.cfg",
    "streamapp/tls.key",
    "streamapp/local/secrets/password",
)
SECRET = "not-for-any-image"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Return the engine of the machine or of these tests."""
    try:
        engine = obtain()
    except NoEngineError as exc:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(str(exc))
        pytest.skip(str(exc))
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the files of the checkout, with private files at several levels."""
    copy = tmp_path_factory.mktemp("checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    for name in PRIVATE:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(f"# {SECRET}\n", "utf-8")
    return copy


@pytest.fixture(scope="session")
def images(engine: Engine, checkout: Path) -> dict[str, str]:
    """Build both images; return their tags by the targets of the Dockerfile."""
    tags = {target: f"streamapp-{target}:ci" for target in ("worker", "dashboard")}
    for target, tag in tags.items():
        labels = ["--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abc"]
        arguments = [*engine.build_arguments(), *labels, f"--target={target}", f"--tag={tag}", str(checkout)]
        engine.docker("build", "--quiet", *arguments)
    return tags
