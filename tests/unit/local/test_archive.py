"""Unpacking: an archive gives its files, and nothing that it holds reaches beyond the target folder."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from streamapp.errors import BackendError
from streamapp.local.archive import unpack


def member(name: str, **attributes: Any) -> tarfile.TarInfo:
    """Return an archive's member, a regular file of four bytes unless `attributes` say otherwise."""
    info = tarfile.TarInfo(name)
    info.size = 4
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def packed(folder: Path, *members: tarfile.TarInfo) -> Path:
    """Return an archive of these members."""
    archive = folder / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"text") if info.isreg() else None)
    return archive


def everything(folder: Path) -> set[str]:
    """Return all paths below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_archive_is_unpacked(tmp_path: Path) -> None:
    """Files and folders come out under their names, with their contents."""
    archive = packed(tmp_path, member("lib", type=tarfile.DIRTYPE, size=0), member("lib/a.jar"), member("other/b.jar"))

    unpack(archive, tmp_path / "target")

    assert everything(tmp_path / "target") == {"lib", "lib/a.jar", "other", "other/b.jar"}
    assert (tmp_path / "target" / "other" / "b.jar").read_bytes() == b"text"


def test_earlier_contents_are_replaced(tmp_path: Path) -> None:
    """What an interrupted or older unpacking left in the target or beside it does not stay."""
    for left in ("target", "target.part"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "old").touch()

    unpack(packed(tmp_path, member("new")), tmp_path / "target")

    assert everything(tmp_path) == {"archive.tar.gz", "target", "target/new"}


def test_permissions_and_owner_are_not_taken_over(tmp_path: Path) -> None:
    """A file has no set-user-ID, set-group-ID, sticky or others' write bit, and belongs to the user who unpacks."""
    archive = packed(tmp_path, member("tool", mode=0o7777, uid=4242, gid=4242, uname="games", gname="games"))
    old = os.umask(0o022)
    try:
        unpack(archive, tmp_path / "target")
    finally:
        os.umask(old)
    status = (tmp_path / "target" / "tool").stat()

    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o644, os.getuid(), os.getgid())


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("lib/../../outside"),
        member("../outside", type=tarfile.DIRTYPE, size=0),
        member("{folder}/outside"),
        member("link", type=tarfile.SYMTYPE, linkname="..", size=0),
        member("link", type=tarfile.SYMTYPE, linkname="{folder}", size=0),
        member("link", type=tarfile.SYMTYPE, linkname="first", size=0),
        member("link", type=tarfile.LNKTYPE, linkname="../secret", size=0),
        member("link", type=tarfile.LNKTYPE, linkname="{folder}/secret", size=0),
        member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3, size=0),
        member("device", type=tarfile.BLKTYPE, devmajor=7, devminor=0, size=0),
        member("pipe", type=tarfile.FIFOTYPE, size=0),
    ],
    ids=lambda bad: f"{bad.name}-{bad.type.decode()}-{bad.linkname}",
)
def test_dangerous_member_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """A path outside, a link, a device or a pipe: an error that names the member, and nothing is left behind."""
    (tmp_path / "secret").write_text("secret")
    bad.name, bad.linkname = (text.format(folder=tmp_path) for text in (bad.name, bad.linkname))
    archive = packed(tmp_path, member("first"), bad, member("link/outside"), member("last"))

    with pytest.raises(BackendError, match=bad.name):
        unpack(archive, tmp_path / "target")
    assert everything(tmp_path) == {"archive.tar.gz", "secret"}


def test_refused_archive_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    """A target that is complete is not lost to an archive that cannot replace it."""
    unpack(packed(tmp_path, member("good")), tmp_path / "target")

    with pytest.raises(BackendError):
        unpack(packed(tmp_path, member("new"), member("../outside")), tmp_path / "target")
    assert everything(tmp_path / "target") == {"good"}
