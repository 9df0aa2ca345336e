"""Kafka and the schema registry on disk: downloaded once into a cache folder, checked at every start."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import lock, pins, programs
from streamapp.local.archive import unpack

REGISTRY_VERSION = "3.3.3"


def cache_folder(chosen: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for downloads: the chosen one, or a folder in the user's cache."""
    if chosen:
        return chosen
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamapp"


def kafka_jars(version: str, cache: Path) -> Sequence[Path]:
    """Return Kafka's class path; download it if it is missing.

    Raises:
        BackendError: it cannot be downloaded; the message names remedies.
    """
    with _opened(cache):
        return read_manifest(cache, f"kafka-{version}") or _fetch_kafka(version, cache)


def registry_home(cache: Path) -> Path:
    """Return the folder of the unpacked Apicurio Registry; download it if it is missing.

    Raises:
        BackendError: it cannot be downloaded; the message names remedies.
    """
    name = f"apicurio-registry-{REGISTRY_VERSION}"
    with _opened(cache):
        if not read_manifest(cache, name):
            _fetch_registry(cache, name)
    return cache / name


def read_manifest(cache: Path, name: str) -> Sequence[Path]:
    """Return the files of an earlier download in their order; nothing if a file is missing or incomplete."""
    try:
        sizes: dict[str, int] = json.loads((cache / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    is_complete = all(_has_size(cache / file, size) for file, size in sizes.items())
    return [cache / file for file in sizes] if is_complete else []


def write_manifest(cache: Path, name: str, files: Sequence[Path]) -> None:
    """Save the names of the files of a download, in their order, and their sizes."""
    sizes = {str(file.relative_to(cache)): file.stat().st_size for file in files}
    part = cache / f"{name}.json.part"
    part.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    part.replace(cache / f"{name}.json")


@contextmanager
def _opened(cache: Path) -> Generator[None]:
    """Lock the cache folder, so that no other process downloads the same files at the same time."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with lock.held(cache / "lock", wait=True):
            yield
    except ModuleNotFoundError as exc:
        raise programs.missing(exc.name or "jgo") from None
    except OSError as exc:
        raise BackendError(
            f"The download folder {cache} cannot be used: {exc}. Set STREAMAPP_LOCAL_CACHE_DIR to another folder."
        ) from exc


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _fetch_kafka(version: str, cache: Path) -> Sequence[Path]:
    from streamapp.local.download import class_path, repository  # noqa: PLC0415 - slow, and most starts download nothing

    with repository(cache / "repository", f"Apache Kafka {version}") as maven:
        jars = class_path(maven, f"org.apache.kafka:kafka_2.13:{version}")
    pins.check(f"kafka-{version}", jars)
    write_manifest(cache, f"kafka-{version}", jars)
    return jars


def _fetch_registry(cache: Path, name: str) -> None:
    from streamapp.local.download import repository  # noqa: PLC0415 - as above

    with repository(cache / "repository", f"Apicurio Registry {REGISTRY_VERSION}") as maven:
        component = maven.project("io.apicurio", "apicurio-registry-app").at_version(REGISTRY_VERSION)
        archive = component.artifact(classifier="all", packaging="tar.gz").resolve()
    pins.check(name, [archive])
    unpack(archive, cache / name)
    archive.unlink()  # 158 MB that are not needed again
    write_manifest(cache, name, sorted(path for path in (cache / name).rglob("*") if path.is_file()))
