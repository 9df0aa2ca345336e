"""OpenSSL 1.1 for the mongod of Linux on aarch64, which newer distributions do not have.

The wheel of psycopg2-binary has it, but the names of the files have a checksum (`libssl-ce04ce0e.so.1.1`), which the
dynamic linker does not look for. Links in a folder of LD_LIBRARY_PATH give them the usual names.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import ALTERNATIVES

#: The only version of which the wheels for all Pythons from 3.11 on have OpenSSL 1.1.1; mongod refuses 1.1.0.
PACKAGE = "psycopg2-binary==2.9.10"
NAMES = ("libssl.so.1.1", "libcrypto.so.1.1")
_WITH_CHECKSUM = re.compile(r"(lib(?:ssl|crypto))-[0-9a-f]+(\.so\.1\.1)")


def libraries() -> Path:
    """Return the folder of the libraries of the installed psycopg2-binary.

    Raises:
        BackendError: it is not installed.
    """
    package = find_spec("psycopg2")
    if package is None or package.origin is None:
        raise _missing()
    return Path(package.origin).parents[1] / "psycopg2_binary.libs"


def link(libraries: Path, folder: Path) -> Path:
    """Make a folder with links to the libraries: with the usual names, and with the names by which one loads the other.

    Raises:
        BackendError: `libraries` has no OpenSSL 1.1.
    """
    links = dict[str, Path]()
    for file in libraries.glob("lib*.so.1.1"):
        if match := _WITH_CHECKSUM.fullmatch(file.name):
            links |= {file.name: file, f"{match[1]}{match[2]}": file}
    if not {*NAMES} <= links.keys():
        raise _missing()
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in links.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(file)
    return folder


def _missing() -> BackendError:
    return BackendError(
        f"MongoDB needs OpenSSL 1.1. Install the Python package that contains it: pip install {PACKAGE}\n{ALTERNATIVES}"
    )
