"""Unpack a tar archive: the contents of its regular files, inside the target folder, and nothing else."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from streamapp.errors import BackendError


def unpack(archive: Path, target: Path) -> None:
    """Replace `target` with what the archive holds; `target` is complete or unchanged.

    Raises:
        BackendError: a member is a link or a device, or its path leads outside.
    """
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write_members(archive, part)
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_members(archive: Path, folder: Path) -> None:
    # Not extractall(filter="data"): Python before 3.11.4 does not have it, and several releases after that let links
    # lead outside. Here only contents are written: no links, owners, permission bits or times.
    with tarfile.open(archive) as tar:
        for member in tar:
            path = folder / _checked(member, archive)
            contents = tar.extractfile(member)
            if contents is None:  # a folder
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with contents, path.open("wb") as file:
                shutil.copyfileobj(contents, file)


def _checked(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
        raise BackendError(
            f"{archive.name} is not unpacked: its member {member.name!r} is not a regular file or folder inside it."
        )
    return path
