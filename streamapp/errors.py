"""The errors of streamapp, classed by what the caller must do.

StreamappError
├── Transient               wait and retry
│   ├── AccessRefused       also: an operator must correct something; Broker-, Registry- and StoreAccessRefused
│   ├── BrokerUnavailable
│   ├── RegistryUnavailable
│   └── StoreUnavailable
├── Permanent               do not retry
│   ├── Undecodable         → dead letter
│   ├── PoisonFlood               → stop the worker without an ack
│   └── DeadLetterRefused         → stop the worker without an ack
├── AssignmentLost          stop settling without an ack: Kafka delivers the records again
├── BackendError            the local backend does not start, or one of its processes has ended
└── SettingsError           correct the setting
"""

from __future__ import annotations

#: The exit code after Ctrl-C, as shells use it: 128 + SIGINT.
INTERRUPTED = 130


class StreamappError(Exception):
    """Base class of all errors of streamapp."""


class Transient(StreamappError):  # noqa: N818 - a class of errors
    """A dependency failed; a retry can succeed.

    Args:
        message: what is wrong.
        is_running: whether the server answers; its answer is the error.
    """

    def __init__(self, message: str = "", *, is_running: bool = False) -> None:
        super().__init__(message)
        self.is_running = is_running


class AccessRefused(Transient):
    """A dependency answers, and refuses access; the message names the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, is_running=True)


class BrokerUnavailable(Transient):
    """Kafka does not answer."""


class BrokerAccessRefused(BrokerUnavailable, AccessRefused):
    """Kafka refuses the user, the password, the certificate or a right."""


class RegistryUnavailable(Transient):
    """The schema registry does not answer."""


class RegistryAccessRefused(RegistryUnavailable, AccessRefused):
    """The schema registry refuses the user, the password, the certificate or a right."""


class StoreUnavailable(Transient):
    """MongoDB does not take writes."""


class StoreAccessRefused(StoreUnavailable, AccessRefused):
    """MongoDB refuses the user, the password, the certificate or a right."""


class Permanent(StreamappError):  # noqa: N818 - a class of errors
    """A retry cannot succeed."""


class Undecodable(Permanent):
    """The value of a record is not a valid event.

    Args:
        reason: one of the reasons in `streamapp.model.record.Reason`.
        error: the exact error, for a person who reads the dead letter.
        built: bytes of memory that were built of the record before the error.
    """

    def __init__(self, reason: str, error: str, *, built: int = 0) -> None:
        super().__init__(error)
        self.reason = reason
        self.built = built


class PoisonFlood(Permanent):
    """So many records fail that the cause is probably not in the records."""


class DeadLetterRefused(Permanent):
    """The dead-letter topic refuses a record because of its configuration."""


class AssignmentLost(StreamappError):  # noqa: N818 - named by what happened
    """The batch belongs to an assignment of its partition that has ended; its records are delivered again."""


class BackendError(StreamappError):
    """The local backend cannot start, or one of its processes has ended."""


class SettingsError(StreamappError):
    """A setting has an invalid value; the message names the setting and gives an example."""
