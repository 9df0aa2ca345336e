"""Which errors of MongoDB are waited out, which are a record's, and which end the worker."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import BulkWriteError, OperationFailure, ServerSelectionTimeoutError

from streamapp.errors import SettingsError, StoreAccessRefused, StoreUnavailable
from streamapp.mongodb.client import translate_errors
from streamapp.mongodb.faults import (
    ACCESS_CODES,
    COMMAND_RECORD_CODES,
    RECORD_CODES,
    SETTING_CODES,
)

NOT_REPLICATED = {"code": 2, "errmsg": "cannot use 'w' > 1 when a host is not replicated"}


def translated(exc: Exception) -> Exception:
    """Return the error that a call raises whose command fails with `exc`."""

    def fail() -> None:
        raise exc

    with pytest.raises((SettingsError, StoreUnavailable)) as caught:
        translate_errors(fail)
    return caught.value


def test_no_code_has_two_faults() -> None:
    """A command fails because of a document only with codes that documents have."""
    tables = (RECORD_CODES, SETTING_CODES, ACCESS_CODES)
    assert len({code for table in tables for code in table}) == sum(map(len, tables))
    assert COMMAND_RECORD_CODES <= RECORD_CODES.keys()


@pytest.mark.parametrize("code", [*range(400), *RECORD_CODES, *SETTING_CODES, *ACCESS_CODES, 14_031])
def test_every_code_of_a_command_is_classed(code: int) -> None:
    """A code that is in no table is waited out: no record may be blamed for what nobody has looked at."""
    classes = {
        **dict.fromkeys(SETTING_CODES, SettingsError),
        **dict.fromkeys(ACCESS_CODES, StoreAccessRefused),
    }

    assert type(translated(OperationFailure("x", code, {"code": code}))) is classes.get(code, StoreUnavailable)


# Unauthorized, AuthenticationFailed, AuthenticationRestrictionUnmet, UserNotFound.
@pytest.mark.parametrize("code", [13, 18, 214, 11])
def test_missing_rights_are_waited_out(code: int) -> None:
    """An operator can give them while the worker runs; the text of the server can hold a document."""
    text = 'not authorized on db to execute command { insert: "events", documents: [ { user_id: "alice" } ] }'
    error = translated(OperationFailure(text, code))

    assert isinstance(error, StoreAccessRefused)
    assert "alice" not in str(error)
    assert "STREAMAPP_MONGO_" in str(error)


def test_a_missing_right_names_what_was_refused() -> None:
    """The command, and the database."""
    error = translated(OperationFailure('not authorized on db to execute command { insert: "events", x: 1 }', 13))

    assert "the user lacks a right (insert in the database db)" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "has expired"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
            "STREAMAPP_TLS_CA_FILE",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] IP address mismatch, certificate is not valid for 'x'", "another host name"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "tlsCertificateKeyFile"),
    ],
)
def test_a_fault_of_tls_is_named(text: str, words: str) -> None:
    """With the setting, in place of an outage."""
    error = translated(ServerSelectionTimeoutError(f"SSL handshake failed: 127.0.0.1:27017: {text} (_ssl.c:1006)"))

    assert isinstance(error, StoreAccessRefused)
    assert words in str(error)


@pytest.mark.parametrize(
    "exc",
    [
        OperationFailure(NOT_REPLICATED["errmsg"], 2, NOT_REPLICATED),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 100, "errmsg": "not enough nodes"}]}),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 79, "errmsg": "no mode"}]}),
    ],
)
def test_a_write_concern_that_cannot_be_satisfied_ends_the_worker(exc: OperationFailure) -> None:
    """With one line that names the setting and the remedy."""
    error = translated(exc)

    assert isinstance(error, SettingsError)
    assert "Remove w from STREAMAPP_MONGO_URI" in str(error)
    assert "\n" not in str(error)


def test_a_validator_of_a_rollup_collection_is_waited_out() -> None:
    """With the remedy, and without a value of the document."""
    details: dict[str, Any] = {"index": 0, "code": 121, "errmsg": "failed", "errInfo": {"user": "alice"}, "op": "alice"}

    error = translated(BulkWriteError({"writeErrors": [details], "writeConcernErrors": []}))

    assert isinstance(error, StoreUnavailable)
    assert "DocumentValidationFailure (121)" in str(error)
    assert "collMod" in str(error)
    assert "alice" not in str(error)
