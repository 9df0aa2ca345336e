"""Write commands without the checks of the driver's bulk methods, which take most of the time of small documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError

#: The size limit of a document (MongoDB's manual, "MongoDB Limits and Thresholds"), and of the documents in a command.
MAX_BYTES = 16 * 1024 * 1024


def run(database: Database[Any], command: Mapping[str, Any], session: ClientSession | None = None) -> Mapping[str, Any]:
    """Run an `insert` or `update` command, unordered; raises BulkWriteError if a document was refused."""
    concern = {} if session and session.in_transaction else {"writeConcern": database.write_concern.document}
    answer = database.command(
        {**command, "ordered": False, **concern},
        # The answer quotes a refused document: its text and dates must decode, whatever they are.
        codec_options=database.codec_options,
        session=session,
    )
    errors, concern_error = answer.get("writeErrors", []), answer.get("writeConcernError")
    if errors or concern_error:
        raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": [concern_error] if concern_error else []})
    return answer
