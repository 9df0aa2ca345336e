"""Sources of settings besides the environment and `.env`: deprecated names, and files that hold secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from streamapp.errors import SettingsError
from streamapp.settings.names import ENVIRONMENT_ONLY, RENAMED, variable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

log = logging.getLogger(__name__)

#: Secrets that are bytes, not text: their files are read where they are used.
_BINARY = frozenset({"dlq_signing_key"})


class _Source(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        """Return nothing; the values come from `__call__`."""
        return None, field_name, False


class DeprecatedNames(_Source):
    """Reads the settings that are set under deprecated names, and logs a warning that names the new names."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = [source.env_vars for source in sources if isinstance(source, EnvSettingsSource)]

    def __call__(self) -> dict[str, Any]:
        """Return the values by the new names; raises SettingsError if both names are set."""
        return {new: value for old, new in RENAMED.items() if (value := self._value(old, new)) is not None}

    def _value(self, old: str, new: str) -> str | None:
        value = self._first(old)
        if value is None:
            return None
        old_variable, new_variable = variable(old), variable(new)
        if self._first(new) is not None:
            raise SettingsError(
                f"{old_variable} and {new_variable} are both set. Remove {old_variable}, which is deprecated."
            )
        warn_once(old_variable, new_variable)
        return value

    def _first(self, name: str) -> str | None:
        found = (variables.get(variable(name).lower()) for variables in self._variables)
        return next((value for value in found if value is not None), None)


@cache
def warn_once(old: str, new: str) -> None:
    """Log the warning about a deprecated name, once in a process."""
    log.warning("%s is deprecated and will be removed in version 0.3; use %s.", old, new)


class SecretFiles(_Source):
    """Reads the secrets that are given as files, and decides between a secret and its file.

    As with all settings the environment wins over `.env`, whether it has the secret or its file. Within one of them,
    both together are an error.
    """

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._sources = sources

    def __call__(self) -> dict[str, Any]:
        """Return the secrets that are set; raises SettingsError if one is set twice, or a file cannot be read."""
        found = [source() for source in self._sources]
        names = secrets(self.settings_cls.model_fields)
        return {key: value for name in names for key, value in _secret(name, found).items()}


def secrets(names: Iterable[str]) -> list[str]:
    """Return the names of those settings that can be given as a file."""
    names = list(names)
    return [name for name in names if f"{name}_file" in names]


def _secret(name: str, sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the secret and its file, as the first source that has one of them says; empty if none has.

    What only a later source has of the two is None in the result.
    """
    file = f"{name}_file"
    for source in sources:
        value, path = source.get(name), source.get(file)
        if value is not None and path is not None:
            raise SettingsError(f"{variable(name)} and {variable(file)} are both set. Remove one of them.")
        if value is not None or path is not None:
            if path is not None and name not in _BINARY:
                value = text_in(Path(path), variable(file))
            decided = {name: value, file: path}
            given = {key for each in sources for key in decided if each.get(key) is not None}
            return {key: each for key, each in decided.items() if each is not None or key in given}
    return {}


def text_in(file: Path, name: str) -> str:
    """Return the text of a file as `secret_in` does; raises SettingsError with this variable's name."""
    try:
        return secret_in(file, name).decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{name} is invalid: {file} is not a text in UTF-8.") from None


def secret_in(file: Path, name: str) -> bytes:
    """Return the content of a file without the newline at its end; raises SettingsError with this variable's name."""
    try:
        secret = file.read_bytes().removesuffix(b"\n").removesuffix(b"\r")
    except OSError as exc:
        raise SettingsError(f"{name} is invalid: {file} cannot be read: {exc.strerror}.") from None
    if not secret:
        raise SettingsError(f"{name} is invalid: {file} is empty.")
    return secret


def check_env_file(values: Mapping[str, str | None]) -> None:
    """Raise SettingsError if `.env` sets a setting that only the environment may set."""
    given = {name.upper() for name, value in values.items() if value}
    for name in map(variable, ENVIRONMENT_ONLY):
        if name in given:
            message = (
                f"The file .env in this folder sets {name}, which names programs to run. It is read from the"
                f" environment only. Remove the line from .env, and set it in your shell: export {name}=<path>"
            )
            raise SettingsError(message)
