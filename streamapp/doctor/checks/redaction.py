"""Remove secrets from texts before they are shown.

A password can be an ordinary word, which a command of a finding may contain as a name. So only error texts of servers
and drivers are searched for the password itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote, unquote_plus

#: User and password of a connection string: the text up to the last @ before the path.
_USER_INFO = re.compile(r"(?<=//)(?!<)[^/\s]*@")
#: Options of a connection string that have secret values.
_SECRET_OPTIONS = ("authmechanismproperties", "tlscertificatekeyfilepassword")
_REDACTED = "***"


def redact_user_info(text: str) -> str:
    """Replace user and password of every address in a text."""
    return _USER_INFO.sub(f"{_REDACTED}@", text)


def redactor(uri: str, others: Iterable[str] = ()) -> Callable[[str], str]:
    """Return a function that also replaces secrets; for texts of servers and drivers.

    Args:
        uri: a connection string, whose secrets are replaced.
        others: secrets.
    """
    secrets = sorted(_secrets(uri) | {*others} - {""}, key=len, reverse=True)

    def hidden(text: str) -> str:
        text = redact_user_info(text)
        for secret in secrets:
            text = text.replace(secret, _REDACTED)
        return text

    return hidden


def user_of(uri: str) -> str:
    """Return the user of a connection string; empty if it has none."""
    return unquote_plus(_user_info(uri).partition(":")[0])


def _secrets(uri: str) -> set[str]:
    found = {_user_info(uri).partition(":")[2]}
    for option in uri.partition("?")[2].split("&"):
        name, _, value = option.partition("=")
        if name.lower() in _SECRET_OPTIONS:
            found |= {value, *(part.partition(":")[2] for part in unquote(value).split(","))}
    return {spelling for each in found for spelling in (each, unquote(each), unquote_plus(each))} - {""}


def _user_info(uri: str) -> str:
    # Like the driver, which accepts spaces.
    return uri.partition("//")[2].partition("/")[0].rpartition("@")[0]
