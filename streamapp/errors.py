"""What can go wrong, named by what the caller must do.

StreamappError
├── Transient               wait and try again
│   ├── BrokerUnavailable
│   ├── RegistryUnavailable
│   └── StoreUnavailable
├── Permanent               no attempt can succeed
│   ├── Undecodable         → dead letter
│   ├── PoisonFlood               → stop, un-acked
│   ├── DeadLetterTopicTooSmall   → stop, un-acked
│   └── DeadLetterRefused         → stop, un-acked
├── AssignmentLost          stop settling, un-acked: Kafka delivers the records again
├── BackendError            the local backend cannot run here, or no longer
└── SettingsError           a setting is wrong
"""

from __future__ import annotations

#: The exit code of what Ctrl-C has ended, as shells tell of it.
INTERRUPTED = 130


class StreamappError(Exception):
    """Something went wrong in streamapp."""


class Transient(StreamappError):  # noqa: N818 - a class of errors, named by what it means
    """Worth another attempt: nothing is wrong with the record."""


class BrokerUnavailable(Transient):
    """Kafka does not answer."""


class RegistryUnavailable(Transient):
    """The schema registry does not answer."""


class StoreUnavailable(Transient):
    """MongoDB does not take writes."""


class Permanent(StreamappError):  # noqa: N818 - a class of errors, named by what it means
    """Can never succeed, however often it is tried."""


class Undecodable(Permanent):
    """The bytes of a record cannot become an event.

    Args:
        reason: one of the reasons in `streamapp.model.record.Reason`.
        error: what exactly is wrong, for a reader of the dead letter.
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


class PoisonFlood(Permanent):
    """So many records are poison that the fault lies elsewhere than in them."""


class DeadLetterTopicTooSmall(Permanent):
    """The dead-letter topic refuses a record because of its size."""


class DeadLetterRefused(Permanent):
    """The dead-letter topic refuses a record for another reason, which time does not mend."""


class AssignmentLost(StreamappError):  # noqa: N818 - named by what happened
    """The batch belongs to an assignment of its partition that has ended; its records are delivered again."""


class BackendError(StreamappError):
    """The local backend cannot start, or one of its processes has ended."""


class SettingsError(StreamappError):
    """A setting has a value that cannot work; the message names it and gives an example."""
