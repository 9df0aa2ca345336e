"""OpenSSL 1.1 for mongod on Linux aarch64, from a folder as the wheel of psycopg2-binary has it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from streamapp.errors import BackendError
from streamapp.local import openssl, programs

FILES = ("libssl-ce04ce0e.so.1.1", "libcrypto-4efd7316.so.1.1", "libpq-fa0f2b8e.so.5.17", "libgssapi-497db0c6.so.2.2")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a fake of the wheel; return the folder of its libraries."""
    (tmp_path / "psycopg2").mkdir()
    (tmp_path / "psycopg2" / "__init__.py").touch()
    folder = tmp_path / "psycopg2_binary.libs"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return folder


def test_links_have_the_usual_names_and_those_with_a_checksum(installed: Path, tmp_path: Path) -> None:
    """The libssl of the wheel loads the libcrypto by its name with the checksum; other libraries are not linked."""
    folder = openssl.link(openssl.libraries(), tmp_path / "openssl")

    assert installed == openssl.libraries()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "libssl.so.1.1": FILES[0],
        FILES[0]: FILES[0],
        "libcrypto.so.1.1": FILES[1],
        FILES[1]: FILES[1],
    }


def test_links_of_an_earlier_start_are_replaced(installed: Path, tmp_path: Path) -> None:
    """They may lead to an environment that was deleted since."""
    folder = tmp_path / "openssl"
    folder.mkdir()
    (folder / "libssl.so.1.1").symlink_to(tmp_path / "deleted")

    openssl.link(installed, folder)

    assert (folder / "libssl.so.1.1").read_text() == FILES[0]


@pytest.mark.parametrize("absent", FILES[:2])
def test_a_missing_library_is_an_error_with_the_package(absent: str, installed: Path, tmp_path: Path) -> None:
    """Other versions of psycopg2-binary have OpenSSL 3."""
    (installed / absent).unlink()

    with pytest.raises(BackendError, match=r"(?s)OpenSSL 1\.1.*pip install psycopg2-binary==2\.9\.10.*compose\.yaml"):
        openssl.link(installed, tmp_path / "openssl")


def test_a_missing_package_is_an_error_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "find_spec", lambda _: None)

    with pytest.raises(BackendError, match=r"pip install psycopg2-binary==2\.9\.10"):
        openssl.libraries()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("others", ["", "/opt/lib"])
def test_mongod_on_aarch64_finds_the_links_first(others: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the user's environment come after them."""
    monkeypatch.setattr(programs, "here", lambda: "Linux aarch64")
    monkeypatch.setenv("LD_LIBRARY_PATH", others)

    path = programs.mongod_environment(None, tmp_path)["LD_LIBRARY_PATH"]

    assert path.split(os.pathsep) == [str(tmp_path / "openssl"), *filter(None, [others])]


@pytest.mark.parametrize(("platform", "chosen"), [("Linux x86_64", None), ("Linux aarch64", Path("mongod"))])
def test_other_mongods_find_their_libraries_themselves(
    platform: str, chosen: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "here", lambda: platform)

    assert programs.mongod_environment(chosen, tmp_path) == {}
