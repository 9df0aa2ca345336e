"""Read the records of dead letters that were written without their value."""

from __future__ import annotations

from streamapp.errors import StreamappError
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.omitted import is_omitted, is_original, restored_headers
from streamapp.model.record import Origin, TopicRecord


class OriginalLost(StreamappError):  # noqa: N818 - named by what happened
    """Kafka no longer has the record of a dead letter without value; the message says why."""


def restored(letter: TopicRecord, origin: Origin, originals: TopicReader, topic_id: str | None) -> TopicRecord:
    """The dead letter with the content of its record; itself if it has its content.

    Args:
        letter: a record of the dead-letter topic.
        origin: the coordinates in its headers.
        originals: reads the original topic.
        topic_id: the present topic id of the original topic.

    Raises:
        OriginalLost: Kafka no longer has the record.
    """
    if not is_omitted(letter):
        return letter
    place = f"{origin.topic}, partition {origin.partition}, offset {origin.offset}"
    if origin.topic != originals.topic or origin.topic_id != topic_id:
        raise OriginalLost(f"it was written without its value, and the topic of its record ({place}) was deleted")
    found = None
    if origin.partition in originals.partitions():
        found = next(originals.read(origin.partition, origin.offset, origin.offset + 1), None)
    if found is None or not is_original(letter, found):
        raise OriginalLost(f"it was written without its value, and Kafka no longer has its record at {place}")
    return letter._replace(key=found.key, value=found.value, headers=restored_headers(letter, found))
