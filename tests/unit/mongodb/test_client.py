"""Errors of the connection to MongoDB are classed without a server."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer, NoNameservers
from pymongo.errors import ConfigurationError

from streamapp.errors import SettingsError, StoreUnavailable, StreamappError
from streamapp.mongodb.client import Mongo, translate_errors


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (LifetimeTimeout(timeout=2, errors=[]), StoreUnavailable),
        (NoNameservers(), StoreUnavailable),
        (NXDOMAIN(), SettingsError),
        (NoAnswer(), SettingsError),
        (None, SettingsError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_an_unreachable_dns_is_an_outage_and_an_unknown_name_is_a_wrong_setting(
    cause: Exception | None, expected: type[StreamappError]
) -> None:
    """The driver raises the same error for both."""

    def look_up() -> None:
        raise ConfigurationError("not found") from cause

    with pytest.raises(expected, match=r"STREAMAPP_MONGO_URI\): not found"):
        translate_errors(look_up)


def test_a_uri_without_a_host_name_is_a_wrong_setting() -> None:
    """The error does not hold the password."""
    mongo = Mongo("mongodb+srv://bob:hunter2@127.0.0.1/", "any")
    with closing(mongo), pytest.raises(SettingsError, match="STREAMAPP_MONGO_URI") as caught:
        asyncio.run(mongo.ping())

    assert "hunter2" not in str(caught.value)
