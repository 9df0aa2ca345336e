"""What an error code of Kafka's brokers means, for both clients.

WAIT      the operation is repeated: Kafka is busy; also every code that a later version adds
ACCESS    the operation is repeated: Kafka refuses the user, the password or a right, which an operator can correct
RECORD    the record can never be written, or read
SETTING   a setting cannot be right: the worker ends with one line
DEFECT    the client was used wrongly: the worker ends with the traceback

Source: Kafka's protocol guide, "Error Codes".
"""

from __future__ import annotations

from enum import Enum, auto


class Fault(Enum):
    """What an error means."""

    WAIT = auto()
    ACCESS = auto()
    RECORD = auto()
    SETTING = auto()
    DEFECT = auto()


#: Whose rights are meant, and what names it.
USER = "the user (STREAMAPP_KAFKA_SASL_USERNAME, or the name in the token or the client certificate)"
_TOPIC_RIGHTS = f"Give {USER} the rights to this topic: DESCRIBE, and READ or WRITE"
_GROUP_RIGHTS = f"Give {USER} the right READ to the consumer group (STREAMAPP_APP_ID)"
CREDENTIALS = "Correct the user, the password or the mechanism (STREAMAPP_KAFKA_SASL_*), or the user in Kafka"

#: Missing rights and refused credentials → the remedy.
ACCESS_CODES = {
    29: _TOPIC_RIGHTS,
    30: _GROUP_RIGHTS,
    31: f"Give {USER} the right to the cluster that this operation needs, for example CREATE or DESCRIBE",
    33: CREDENTIALS,
    34: CREDENTIALS,
    53: f"Give {USER} the rights to the transactional id",
    58: CREDENTIALS,
    61: CREDENTIALS,
    62: CREDENTIALS,
    63: CREDENTIALS,
    64: CREDENTIALS,
    65: f"Give {USER} the rights to the delegation token",
    66: CREDENTIALS,
}
#: Of these, a missing right to one topic, to one consumer group, and to the cluster.
RIGHT_CODES = frozenset({29, 30, 31})
#: Of a record that is written.
RECORD_CODES = {
    4: "INVALID_MSG_SIZE",
    10: "MSG_SIZE_TOO_LARGE",
    18: "RECORD_LIST_TOO_LARGE",
    32: "INVALID_TIMESTAMP",
    43: "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    76: "UNSUPPORTED_COMPRESSION_TYPE",
    87: "INVALID_RECORD",
}
#: → the remedy, for all but an error of the client (4).
RECORD_REMEDIES = {
    10: "Raise max.message.bytes of the topic",
    18: "Raise segment.bytes of the topic",
    32: "Raise message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic",
    43: "Set message.format.version of the topic to 0.11.0 or later",
    76: "Set STREAMAPP_KAFKA_COMPRESSION to a compression that the broker knows",
    87: (
        "If cleanup.policy of the topic contains compact, the topic accepts no record without key: set it to delete."
        " If the broker validates schemas (confluent.value.schema.validation), register the schema, or turn the"
        " validation off"
    ),
}
#: → the settings that can cause it.
SETTING_CODES = {
    17: "STREAMAPP_TOPIC",
    23: "STREAMAPP_APP_ID (a consumer of another kind uses the same group)",
    24: "STREAMAPP_APP_ID",
    26: "STREAMAPP_SESSION_TIMEOUT_SECONDS",
    37: "STREAMAPP_PARTITIONS",
    38: "default.replication.factor of the broker, or create the topic yourself",
    39: "default.replication.factor of the broker, or create the topic yourself",
    40: "the topic's configuration in Kafka, or create the topic yourself",
    44: "STREAMAPP_TOPIC or STREAMAPP_PARTITIONS, or create the topic yourself",
}
#: Errors of a group while its broker becomes the coordinator, in the first seconds after its start.
NO_COORDINATOR_YET = frozenset({14, 15, 16})

_FAULTS: dict[int, Fault] = {
    **dict.fromkeys(ACCESS_CODES, Fault.ACCESS),
    **dict.fromkeys(RECORD_CODES, Fault.RECORD),
    **dict.fromkeys(SETTING_CODES, Fault.SETTING),
}


def fault_of_code(code: int) -> Fault:
    """The fault of an error code."""
    return _FAULTS.get(code, Fault.WAIT)
