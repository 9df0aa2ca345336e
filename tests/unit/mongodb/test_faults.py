"""Which errors of MongoDB are waited out, which are a record's, and which end the worker."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from streamapp.errors import SettingsError, StoreUnavailable
from streamapp.mongodb.client import translate_errors
from streamapp.mongodb.faults import COMMAND_RECORD_CODES, RECORD_CODES, SETTING_CODES, ErrorClass, error_class_of

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
    assert not RECORD_CODES.keys() & SETTING_CODES.keys()
    assert COMMAND_RECORD_CODES <= RECORD_CODES.keys()


@pytest.mark.parametrize("code", [*range(400), *RECORD_CODES, *SETTING_CODES, 14_031])
def test_every_code_is_classed(code: int) -> None:
    """A code that is in neither table is waited out: no record may be blamed for what nobody has looked at."""
    in_tables = (code in RECORD_CODES, code in SETTING_CODES)
    expected = {(True, False): ErrorClass.RECORD, (False, True): ErrorClass.SETTING, (False, False): ErrorClass.WAIT}[
        in_tables
    ]

    assert error_class_of({"code": code, "errmsg": "x"}) is expected


# Unauthorized, AuthenticationFailed, AuthenticationRestrictionUnmet, UserNotFound.
@pytest.mark.parametrize("code", [13, 18, 214, 11])
def test_missing_rights_are_waited_out(code: int) -> None:
    """An operator can give them while the worker runs."""
    assert isinstance(translated(OperationFailure("not authorized", code)), StoreUnavailable)


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
