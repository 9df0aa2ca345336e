"""The faults of `send-sample --faults`, and what becomes of each."""

from __future__ import annotations

from generators.markdown import table as markdown_table
from streamapp.samples.faults import REASONS, Fault

SENT = {
    Fault.CORRUPT: "one byte of the body changed, so that the body cannot be decoded",
    Fault.TRUNCATED: "the record without its end",
    Fault.BAD_MAGIC: "a first byte other than 0",
    Fault.UNKNOWN_ID: "the highest possible schema id, which the registry does not know",
    Fault.FOREIGN_SCHEMA: (
        "a record of a registered schema that is not an event's; the command registers it under `<topic>-drill`"
    ),
    Fault.FUTURE: "an event a century in the future",
    Fault.NULL: "a key without a value",
    Fault.EMPTY: "a value without bytes",
    Fault.LATE: "an event that happened an hour to three days before, but not before the earliest allowed event time",
    Fault.DUPLICATE: "the event twice, with the same key and bytes",
}
STORED = {
    Fault.LATE: "stored, and counted in the bucket in which it happened",
    Fault.DUPLICATE: "stored twice: two records are two events",
}


def table() -> str:
    """Render the faults."""
    return markdown_table(["fault", "what is sent", "what becomes of it"], [_row(fault) for fault in Fault])


def _row(fault: Fault) -> tuple[str, str, str]:
    fate = f"dead letter `{REASONS[fault]}`" if fault in REASONS else STORED[fault]
    return f"`{fault}`", SENT[fault], fate
