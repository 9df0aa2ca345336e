"""Run local backends for tests."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamapp.local.backend import Backend
from streamapp.local.secure import SecurityOptions
from streamapp.settings import Settings


def plain_settings(**values: Any) -> Settings:
    """Return settings without the values of a `.env`."""
    return Settings(**{"_env_file": None, **values})


@contextmanager
def running_backend(
    data_dir: Path | None = None,
    *,
    brokers: int | None = None,
    mongods: int | None = None,
    secure: bool | SecurityOptions = False,
    **values: Any,
) -> Generator[Backend]:
    """Run a backend on free ports, with its data in a temporary folder unless one is given."""
    with (
        tempfile.TemporaryDirectory(prefix="streamapp-test-", ignore_cleanup_errors=True) as folder,
        Backend(
            data_dir or Path(folder),
            plain_settings(**values),
            usual_ports=False,
            brokers=brokers,
            mongods=mongods,
            secure=secure,
        ) as backend,
    ):
        yield backend
