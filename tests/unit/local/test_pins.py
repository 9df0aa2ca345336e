"""The downloads of the default versions are held to SHA-256 checksums in the repository."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import artifacts, pins
from streamapp.settings import Settings


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the two files of a download that has pins."""
    files = [tmp_path / "a.jar", tmp_path / "b.jar"]
    for file in files:
        file.write_bytes(file.name.encode())
    expected = {file.name: hashlib.sha256(file.name.encode()).hexdigest() for file in files}
    monkeypatch.setattr(pins, "pins", lambda: {"kafka-1.0.0": expected})
    return files


def test_default_versions_have_pins() -> None:
    """Kafka and the registry of the local backend, with SHA-256 checksums."""
    names = {f"kafka-{Settings.model_fields['local_kafka_version'].default}"}
    names.add(f"apicurio-registry-{artifacts.REGISTRY_VERSION}")

    assert names == pins.pins().keys()
    for expected in pins.pins().values():
        assert all(re.fullmatch(r"[0-9a-f]{64}", checksum) for checksum in expected.values())


def test_expected_files_pass(jars: list[Path]) -> None:
    """Nothing is said about files that are as expected."""
    pins.check("kafka-1.0.0", jars)


def test_other_contents_are_refused(jars: list[Path]) -> None:
    """A changed file is named and removed."""
    jars[1].write_bytes(b"something else")

    with pytest.raises(BackendError, match=r"^b\.jar of kafka-1\.0\.0 does not have the SHA-256"):
        pins.check("kafka-1.0.0", jars)
    assert [True, False] == [jar.exists() for jar in jars]


def test_another_file_is_refused(jars: list[Path], tmp_path: Path) -> None:
    """A file that changed metadata adds to the class path is named."""
    added = tmp_path / "added.jar"
    added.touch()

    with pytest.raises(BackendError, match=r"other files than streamapp expects: added\.jar\."):
        pins.check("kafka-1.0.0", [*jars, added])


def test_missing_file_is_refused(jars: list[Path]) -> None:
    """So is a class path that lacks a file."""
    with pytest.raises(BackendError, match=r"expects: b\.jar\."):
        pins.check("kafka-1.0.0", jars[:1])


def test_other_versions_have_no_pins(jars: list[Path]) -> None:
    """A version that a user chooses is checked by the repository's checksums only."""
    jars[0].write_bytes(b"something else")

    pins.check("kafka-9.9.9", jars)
