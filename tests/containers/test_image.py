"""The two images: signals, users, rights, contents."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.containers.conftest import SECRET
from tests.containers.engine import Engine

# The fixtures have limits of their own: each command of Docker ends after 560 s.
pytestmark = pytest.mark.timeout(900, func_only=True)

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
each_image = pytest.mark.parametrize("target", ["worker", "dashboard"])


@each_image
@pytest.mark.parametrize("after", [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2.5])
def test_obeys_sigterm_at_any_moment(engine: Engine, images: dict[str, str], target: str, after: float) -> None:
    """The first process of a container ends by itself after SIGTERM, without an init, whenever the signal comes."""
    with _container(engine, images[target]) as name:
        time.sleep(after)

        engine.docker("stop", "--time=15", name)

        # 143 before there is anything to stop, else 0; 137 is Docker's SIGKILL.
        assert engine.docker("inspect", "--format={{.State.ExitCode}}", name) in {"0", "143"}, engine.docker(
            "logs", name
        )


@each_image
def test_runs_as_a_user_without_rights(engine: Engine, images: dict[str, str], target: str) -> None:
    """The user is a number other than 0, and has no capability on a read-only root file system."""
    user = engine.docker("inspect", "--format={{.Config.User}}", images[target])
    script = "id -u; grep CapEff /proc/self/status; touch /x; streamapp --version"

    shown = engine.docker("run", "--rm", *HARDENED, images[target], "sh", "-c", script)

    assert "10001:10001" == user
    assert ["10001", "CapEff:\t0000000000000000"] == shown.splitlines()[:2]
    assert "Read-only file system" in shown
    assert "streamapp" in shown.splitlines()[-1]


@pytest.mark.parametrize(
    ("target", "absent", "present"),
    [
        ("worker", ["streamlit", "plotly", "pandas", "pyarrow"], "faust"),
        ("dashboard", ["faust", "aiokafka", "confluent_kafka", "fastavro"], "streamlit"),
    ],
)
def test_contains_what_it_needs(
    engine: Engine, images: dict[str, str], target: str, absent: list[str], present: str
) -> None:
    """Neither image has the other's packages, pip, the sources, or private files of the checkout."""
    script = f"""
import importlib.util, pathlib, json
names = {[*absent, present, "pip", "setuptools", "wheel"]!r}
found = [name for name in names if importlib.util.find_spec(name)]
folders = [pathlib.Path(p) for p in ("/opt", "/home", "/usr/local", "/run", "/tmp", "/build", "/root", "/etc")]
bad = []
for path in (path for folder in folders if folder.exists() for path in folder.rglob("*")):
    try:
        if path.is_file() and path.stat().st_size < 1000 and {SECRET!r} in path.read_text("latin-1"):
            bad.append(str(path))
    except PermissionError:
        pass
sources = [str(p) for p in ("/build", "/src", "/opt/streamapp/pyproject.toml") if pathlib.Path(p).exists()]
print(json.dumps([found, bad, sources]))
"""

    found, bad, sources = json.loads(engine.docker("run", "--rm", "--entrypoint=python", images[target], "-c", script))

    assert ([present], [], []) == (found, bad, sources)


def test_worker_image_has_the_compiled_kernel_and_no_compiler(engine: Engine, images: dict[str, str]) -> None:
    """A stage of its own has the compiler."""
    script = """
import json, shutil
from streamapp.decode import kernel
print(json.dumps([kernel.decoder(kernel.KERNEL), shutil.which("gcc"), shutil.which("cc")]))
"""

    shown = engine.docker("run", "--rm", "--entrypoint=python", images["worker"], "-c", script)

    assert ["compiled", None, None] == json.loads(shown)


@each_image
def test_has_labels_and_a_health_check(engine: Engine, images: dict[str, str], target: str) -> None:
    """The image says what it is, and how Docker asks whether it is ready."""
    config = json.loads(engine.docker("inspect", "--format={{json .Config}}", images[target]))
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}

    assert {"title": f"streamapp-{target}", "version": "1.2.3", "revision": "abc", "licenses": "MIT"}.items() <= (
        labels.items()
    )
    assert ["CMD", "healthcheck"] == config["Healthcheck"]["Test"]


def test_worker_image_says_where_the_dashboard_is(engine: Engine, images: dict[str, str]) -> None:
    """`streamapp dashboard` in the image without Streamlit names the remedy."""
    shown = engine.docker("run", "--rm", images["worker"], "streamapp", "dashboard", check=False)

    assert "streamapp-dashboard" in shown
    assert "Traceback" not in shown


@contextmanager
def _container(engine: Engine, image: str) -> Iterator[str]:
    name = engine.docker("run", "--detach", *HARDENED, image)
    try:
        yield name
    finally:
        engine.docker("rm", "--force", name)
