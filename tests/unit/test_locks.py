"""The lock files: exact versions with hashes, no address; the images' locks are parts of requirements.lock."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
PARTS = sorted((ROOT / "locks").glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

each_lock = pytest.mark.parametrize("lock", [LOCK, *PARTS], ids=lambda path: path.name)
each_part = pytest.mark.parametrize("lock", PARTS, ids=lambda path: path.name)


@each_lock
def test_each_package_has_a_version_and_hashes(lock: Path) -> None:
    """Each entry is a name with one version and SHA-256 hashes, and nothing else: no address, path or option."""
    for requirement, hashes in _entries(lock):
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+( ; .+)?", requirement), requirement
        assert "/" not in requirement
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


@each_part
def test_part_has_the_versions_of_the_whole(lock: Path) -> None:
    """What an image installs is what was tested. The build backend's own packages are only in its lock."""
    whole = {_version(requirement): hashes for requirement, hashes in _entries(LOCK)}
    names = {name for name, _ in whole}
    part = {_version(requirement): hashes for requirement, hashes in _entries(lock)}

    assert {} == {key: hashes for key, hashes in part.items() if key[0] in names and whole.get(key) != hashes}
    if lock.stem != "build":
        assert set() == {name for name, _ in part} - names


@pytest.mark.parametrize("name", ["worker", "dashboard", "build"])
def test_part_has_what_it_is_for(name: str) -> None:
    """Each dependency of a part is in its lock with a version that it allows."""
    locked = dict(_version(requirement) for requirement, _ in _entries(ROOT / "locks" / f"{name}.lock"))

    for requirement in map(Requirement, _writer().parts()[name]):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_images_together_have_all_dependencies() -> None:
    """Each dependency of the distribution is in the image of the worker or of the dashboard."""
    parts = _writer().parts()

    assert set(PROJECT["project"]["dependencies"]) == {*parts["worker"], *parts["dashboard"]}


def test_build_backend_is_pinned() -> None:
    """The build backend has one version."""
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", each) for each in PROJECT["build-system"]["requires"])


def _writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / ".ci" / "lock.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _entries(lock: Path) -> list[tuple[str, list[str]]]:
    """Return each requirement of a lock, with its hashes."""
    entries = re.split(r"\n(?! )", lock.read_text("utf-8").strip())
    return [
        (entry.partition(" \\\n")[0].partition(" --hash")[0], re.findall(r"--hash=(\S+)", entry)) for entry in entries
    ]


def _version(requirement: str) -> tuple[str, str]:
    name, _, rest = requirement.partition("==")
    return canonicalize_name(name), rest.partition(" ")[0]
