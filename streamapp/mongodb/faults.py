"""What an error of MongoDB means for the worker, by its code.

    RECORD    the document can never be stored: its record becomes a dead letter
    SETTING   a setting cannot be right: the worker ends with one line
    ACCESS    the operation is repeated: MongoDB refuses the user, the password or a right, which an operator can
              correct while the worker runs
    WAIT      every other code: the operation is repeated

Source: MongoDB's error_codes.yml, and the codes of its BSON and geo modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VALIDATION_FAILED = 121

#: Of a single document.
RECORD_CODES = {
    2: "BadValue",
    14: "TypeMismatch",
    15: "Overflow",
    22: "InvalidBSON",
    52: "DollarPrefixedFieldName",
    53: "InvalidIdField",
    54: "NotSingleValueField",
    55: "InvalidDBRef",
    56: "EmptyFieldName",
    57: "DottedFieldName",
    VALIDATION_FAILED: "DocumentValidationFailure",
    171: "CannotIndexParallelArrays",
    241: "ConversionFailure",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
    16755: "geo keys",
    16804: "geo keys",
    17261: "geo keys",
    17280: "KeyTooLong",
    17419: "document too large after an update",
    17420: "document too large after an update",
}
#: Of a whole command that contains such a document.
COMMAND_RECORD_CODES = frozenset({2, 15, 22, 10334, 17419, 17420})

_LOGIN = "the user or the password is wrong"
_CORRECT_LOGIN = "Correct the user, the password and authSource in STREAMAPP_MONGO_URI"
#: Cause and remedy.
ACCESS_CODES = {
    11: (_LOGIN, _CORRECT_LOGIN),
    13: (
        "the user lacks a right",
        "Give the user the role readWrite on the database (STREAMAPP_MONGO_DATABASE), or read where it only reads",
    ),
    18: (_LOGIN, _CORRECT_LOGIN),
    214: ("the user may not log in from this address", "Change the restrictions of the user in MongoDB"),
    334: ("MongoDB does not offer the mechanism", "Correct authMechanism in STREAMAPP_MONGO_URI"),
    391: (_LOGIN, _CORRECT_LOGIN),
    8000: (_LOGIN, _CORRECT_LOGIN),  # of Atlas
}
SETTING_CODES = {
    73: "InvalidNamespace",
    76: "NoReplicationEnabled",
    79: "UnknownReplWriteConcern",
    100: "UnsatisfiableWriteConcern",
    148: "ReadConcernMajorityNotEnabled",
    166: "CommandNotSupportedOnView",
}
#: In the text of a BadValue that a write concern causes.
_NOT_REPLICATED = "host is not replicated"


def is_of_setting(error: Mapping[str, Any]) -> bool:
    """Whether the server reports, for a command, a document, or its write concern, that a setting cannot be right."""
    code = error.get("code")
    return code in SETTING_CODES or (code == 2 and _NOT_REPLICATED in str(error.get("errmsg")))  # noqa: PLR2004
