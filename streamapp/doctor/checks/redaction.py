"""Keep secrets out of what is shown, whoever's error text they stand in.

A password may be an ordinary word: only texts of others are searched for it. In a command of ours that word is a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote, unquote_plus

#: User and password of a connection string: up to the last @ before its path.
_USER_INFO = re.compile(r"(?<=//)(?!<)[^/\s]*@")
#: Options of a connection string whose values are secrets.
_SECRET_OPTIONS = ("authmechanismproperties", "tlscertificatekeyfilepassword")
_HIDDEN = "***"


def without_user_info(text: str) -> str:
    """The text, with user and password of any address hidden."""
    return _USER_INFO.sub(f"{_HIDDEN}@", text)


def hiding(uri: str) -> Callable[[str], str]:
    """A function that hides the secrets of this connection string too, in a text that is not ours."""
    secrets = sorted(_spellings(uri), key=len, reverse=True)

    def hidden(text: str) -> str:
        text = without_user_info(text)
        for secret in secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    return hidden


def user_of(uri: str) -> str:
    """The user that a connection string names; empty if none."""
    return unquote_plus(_user_info(uri).partition(":")[0])


def _spellings(uri: str) -> set[str]:
    found = {_user_info(uri).partition(":")[2]}
    for option in uri.partition("?")[2].split("&"):
        name, _, value = option.partition("=")
        if name.lower() in _SECRET_OPTIONS:
            found |= {value, *(part.partition(":")[2] for part in unquote(value).split(","))}
    return {spelling for each in found for spelling in (each, unquote(each), unquote_plus(each))} - {""}


def _user_info(uri: str) -> str:
    # As the driver reads it, which takes spaces.
    return uri.partition("//")[2].partition("/")[0].rpartition("@")[0]
