"""Options and error handling that the commands share: `--json` on either side of the command, no tracebacks."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from streamapp import settings
from streamapp.errors import SettingsError, StreamappError, Transient
from streamapp.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON.")


def is_json(*, as_json: bool) -> bool:
    """Whether `--json` was given, after the command or (Faust's option) before it."""
    return as_json or getattr(click.get_current_context().find_root().obj, "json", False)


def report(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print facts to stdout: one per line, or one JSON object if `--json` was given on either side of the command."""
    if is_json(as_json=as_json):
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")


def instant(text: str | None, *, option: str) -> datetime | None:
    """Return the instant that an option gives in ISO 8601, in UTC if it names no zone; exit code 2 if it is invalid."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not an ISO 8601 time. Example: 2026-01-31T12:00:00Z"
        raise click.BadParameter(message, param_hint=option) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def load_settings() -> Settings:
    """Return the settings; exit code 2 if one is wrong, naming it."""
    try:
        return settings.load()
    except SettingsError as exc:
        raise click.UsageError(str(exc)) from None


def handle_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Print expected errors as a message on stderr, without a traceback, and exit with 1."""

    @wraps(command)
    def handling(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except Transient as exc:
            hint = "\nIs it running? `streamapp up` starts a local Kafka, registry and MongoDB."
            raise click.ClickException(f"{exc}{'' if exc.is_running else hint}") from None
        except StreamappError as exc:
            raise click.ClickException(str(exc)) from None
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            if exc.filename is None:
                _discard_output()
            message = f"{exc.filename or 'The output'} cannot be written: {exc.strerror}"
            raise click.ClickException(message) from None

    return handling


def _discard_output() -> None:
    # At exit Python writes the rest of its buffer, which would fail again with a traceback.
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
