"""Files of a secured backend: secrets and certificates, in one folder that only this user can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

#: Bytes of a password, before it is written as text.
_PASSWORD_BYTES = 24
_ONLY_THIS_USER = 0o600


def write(path: Path, content: str | bytes) -> Path:
    """Write a file that only this user can read, whatever the umask; return its path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_THIS_USER), "wb") as file:
        file.write(data)
    temporary.replace(path)
    return path


def secret(path: Path) -> str:
    """Return the secret of a file; write a new one if there is no file."""
    if not path.exists():
        write(path, secrets.token_urlsafe(_PASSWORD_BYTES))
    return path.read_text("utf-8").strip()
