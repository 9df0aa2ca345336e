"""SHA-256 of what the default versions download: a server of the repository cannot give us other files.

Maven repositories publish checksums beside their files, which find damage; who changes a file can change those too.
Other versions, which a user chooses with a setting, are checked by the published checksums only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from streamapp.errors import BackendError

#: In the format of sha256sum: a checksum, two spaces, `<download>/<file>`.
FILE = Path(__file__).with_name("pins.sha256")


def check(download: str, files: Sequence[Path]) -> None:
    """Check the files of a download by their SHA-256, if it is that of a default version; remove a file that differs.

    Raises:
        BackendError: a file has other contents, is missing, or does not belong to the download.
    """
    expected = pins().get(download)
    if expected is None:
        return
    for file in files:
        if file.name in expected and _sha256(file) != expected[file.name]:
            file.unlink()
            raise BackendError(
                f"{file.name} of {download} does not have the SHA-256 that streamapp expects, and was removed."
                " The repository or a proxy has given other contents. Compare what you get elsewhere with"
                f" {FILE}."
            )
    names, expected_names = {file.name for file in files}, {*expected}
    if names != expected_names:
        raise BackendError(
            f"{download} has other files than streamapp expects: {', '.join(sorted(names ^ expected_names))}."
            f" The repository or a proxy has given other metadata. The expected files are in {FILE}."
        )


@cache
def pins() -> Mapping[str, Mapping[str, str]]:
    """Return the SHA-256 of each file by its name, for each download."""
    found: dict[str, dict[str, str]] = {}
    for line in FILE.read_text("ascii").splitlines():
        checksum, _, path = line.partition("  ")
        download, _, name = path.partition("/")
        found.setdefault(download, {})[name] = checksum
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
