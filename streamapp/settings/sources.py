"""Sources of settings besides the environment and `.env`: deprecated names, and files that hold secrets."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
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
#: The settings of each of several ways, of which one may be used: a login of the registry, a token of Kafka.
_LOGINS = (
    ("schema_registry_username", "schema_registry_password", "schema_registry_password_file"),
    ("schema_registry_bearer_token", "schema_registry_bearer_token_file"),
)
_TOKENS = (("kafka_oauth_token_url",), ("kafka_oauth_token_file",))

#: What a security protocol of Kafka does not use, by the beginning of its name.
_UNUSED = {
    "plaintext": ("kafka_ssl_", "kafka_sasl_", "kafka_oauth_"),
    "ssl": ("kafka_sasl_", "kafka_oauth_"),
    "sasl_plaintext": ("kafka_ssl_",),
}
#: Client certificates, and what belongs to one: without it, the key is in the same file as the certificate.
_CERTIFICATES = {
    f"{server}_ssl_certificate_file": tuple(
        f"{server}_ssl_key_{rest}" for rest in ("file", "password", "password_file")
    )
    for server in ("kafka", "schema_registry")
}

_Values = Mapping[str, Any]
_Ways = Sequence[tuple[str, ...]]


class _Source(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the interface
        """Return nothing; the values come from `__call__`."""
        return None, field_name, False


class DeprecatedNames(_Source):
    """Reads the settings that are set under deprecated names, and logs a warning that names the new names.

    Args:
        settings_cls: the settings.
        sources: the environment and `.env`. The first that has the setting under one of its names decides.
    """

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables = [source.env_vars for source in sources if isinstance(source, EnvSettingsSource)]

    def __call__(self) -> dict[str, Any]:
        """Return the values by the new names; raises SettingsError if a source has both names."""
        return {new: value for old, new in RENAMED.items() if (value := self._value(old, new)) is not None}

    def _value(self, old: str, new: str) -> str | None:
        old_variable, new_variable = variable(old), variable(new)
        for variables in self._variables:
            value, is_renamed = variables.get(old_variable.lower()), new_variable.lower() in variables
            if value is not None and is_renamed:
                raise SettingsError(
                    f"{old_variable} and {new_variable} are both set. Remove {old_variable}, which is deprecated."
                )
            if value is not None:
                warn_once(old_variable, new_variable)
            if value is not None or is_renamed:
                return value
        return None


@cache
def warn_once(old: str, new: str) -> None:
    """Log the warning about a deprecated name, once in a process."""
    log.warning("%s is deprecated and will be removed in version 0.3; use %s.", old, new)


class Alternatives(_Source):
    """The values of all sources, the first source first; decides between ways to set the same.

    These are a secret or its file, which it reads, and one of two logins.

    The first source that sets a part of one way decides for it: of later sources only the other parts of this way
    count. So the environment wins over `.env` for the whole way. Two ways in one source are an error.
    """

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._sources = sources

    def __call__(self) -> dict[str, Any]:
        """Return the values that count.

        Raises:
            SettingsError: a secret is set twice, or a file cannot be read.
        """
        names = secrets(self.settings_cls.model_fields)
        # Each source once, because it looks for every setting.
        sources = _without_unused([source() for source in self._sources])
        for ways in (_LOGINS, _TOKENS, *(((name,), (f"{name}_file",)) for name in names)):
            sources = _decided(ways, sources)
        for certificate, keys in _CERTIFICATES.items():
            has = [source.get(certificate) is not None for source in sources]
            sources = _without(sources, has.index(True) if any(has) else len(has), keys)
        texts = {name: text for name in names if (text := _text_of(name, sources)) is not None}
        return {key: value for each in (*reversed(sources), texts) for key, value in each.items()}


def secrets(names: Iterable[str]) -> list[str]:
    """Return the names of those settings that can be given as a file."""
    names = list(names)
    return [name for name in names if f"{name}_file" in names]


def _decided(ways: _Ways, sources: Sequence[_Values]) -> Sequence[_Values]:
    """Return the sources without the ways that an earlier source has decided against."""
    for number, source in enumerate(sources):
        chosen = [way for way in ways if any(source.get(name) is not None for name in way)]
        if chosen:
            return _without(sources, number, tuple(name for way in ways if way not in chosen for name in way))
    return sources


def _without_unused(sources: Sequence[_Values]) -> Sequence[_Values]:
    """Return the sources without what the security protocol of an earlier source does not use."""
    for number, source in enumerate(sources):
        if protocol := source.get("kafka_security_protocol"):
            beginnings = _UNUSED.get(str(protocol).lower(), ())
            return _without(sources, number, tuple(name for name in _names(sources) if name.startswith(beginnings)))
    return sources


def _without(sources: Sequence[_Values], number: int, hidden: Collection[str]) -> Sequence[_Values]:
    """Return the sources, those after this number without the hidden names."""
    return [
        source if at <= number else {name: value for name, value in source.items() if name not in hidden}
        for at, source in enumerate(sources)
    ]


def _names(sources: Sequence[_Values]) -> set[str]:
    return {name for source in sources for name in source}


def _text_of(name: str, sources: Sequence[_Values]) -> str | None:
    """Return the text of the file of a secret; None if there is no file, or its bytes are not text."""
    file = f"{name}_file"
    values: dict[str, Any] = {}
    for source in reversed(sources):
        values |= {key: value for key in (name, file) if (value := source.get(key)) is not None}
    if len(values) > 1:
        raise SettingsError(f"{variable(name)} and {variable(file)} are both set. Remove one of them.")
    return text_in(Path(values[file]), variable(file)) if file in values and name not in _BINARY else None


def without_hidden(values: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables of `.env` without those that an empty variable of the environment sets to the default.

    Args:
        values: by their names in lower case.
        environ: the environment.
    """
    empty = {name.lower() for name, value in environ.items() if not value}
    empty |= {variable(old).lower() for old, new in RENAMED.items() if variable(new).lower() in empty}
    return {name: value for name, value in values.items() if name not in empty}


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
        raise SettingsError(f"{name} is invalid: {printable(file)} cannot be read: {exc.strerror}.") from None
    if not secret:
        raise SettingsError(f"{name} is invalid: {file} is empty.")
    return secret


def printable(file: Path) -> str:
    """Return the path of a file for a message; other words if it may be a secret that was set in place of its file."""
    folder = file.parent
    has_folder = folder not in (Path(), Path("/")) and os.path.isdir(folder)  # noqa: PTH112 - is_dir raises for a long name
    return str(file) if has_folder else "the path in it (not shown, since it names no folder that exists)"


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
