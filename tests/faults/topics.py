"""Topics that are re-created, extended, truncated, compacted, or written in transactions."""

from __future__ import annotations

from contextlib import suppress

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions

from tests.faults.catalogue import EVERYTHING, fault
from tests.faults.clocks import DAY_MS, MAX_DAYS_AHEAD
from tests.faults.environment import TOPIC, Environment
from tests.support import foreign
from tests.support.offsets import committed, end_offsets
from tests.support.until import until


@fault("topic-recreated", *EVERYTHING)
def topic_recreated(environment: Environment) -> None:
    """The topic is deleted after all its events are stored, and created again; the events of both are kept."""
    with environment.load.paused():
        environment.wait_for(environment.is_drained, what="zero lag before the topic is deleted", within=90)
        recreate(environment)
    environment.let_time_pass(environment.seconds(1, 60))


def recreate(environment: Environment) -> None:
    """Delete the topic, create it again, and let the load know."""
    environment.admin.delete_topics([environment.settings.topic])[environment.settings.topic].result(60)
    environment.settings = environment.settings.model_copy(update={"partitions": 4})
    until(lambda: create_topic(environment), what="the re-created topic")
    for name, value in TOPIC.items():
        foreign.set_topic_config(environment.settings, environment.settings.topic, name, value)
    environment.load.topic_id = environment.topic_id()
    environment.load.connect()


def create_topic(environment: Environment) -> bool:
    """Create the topic, unless the broker has just created it for a worker that asked for it."""
    before = environment.load.topic_id
    with suppress(KafkaException):
        foreign.make_topic(environment.settings)
    return environment.topic_id() != before


@fault("partitions-added", "kafka", "load", disturbs=True)
def partitions_added(environment: Environment) -> None:
    """The topic gets two more partitions, which workers find and read."""
    more = environment.settings.partitions + 2
    environment.admin.create_partitions([NewPartitions(environment.settings.topic, more)])[
        environment.settings.topic
    ].result(60)
    environment.settings = environment.settings.model_copy(update={"partitions": more})
    environment.wait_for(
        lambda: committed(environment.settings)[more - 1] > 0, what="commits in the last partition", within=120
    )


@fault("retention", "kafka", "workers", "load", disturbs=True)
def retention(environment: Environment) -> None:
    """Kafka deletes records that the workers, frozen for a moment, have not read."""
    topic_id = environment.load.topic_id
    frozen = environment.workers.untouched
    for member in frozen:
        member.freeze()
    try:
        # The group starts a partition without a committed offset where Kafka's log starts.
        before = {partition: offset for partition, offset in committed(environment.settings).items() if offset}
        environment.load.events(4_000)
        environment.load.flush()
        ends = end_offsets(environment.settings)
        cuts = {partition: max(ends[partition] - 100, offset) for partition, offset in before.items()}
        for partition, cut in cuts.items():
            begin, _ = environment.cuts.get((topic_id, partition), (before[partition], 0))
            environment.cuts[topic_id, partition] = (min(begin, before[partition]), cut)
        tps = [TopicPartition(environment.settings.topic, partition, cut) for partition, cut in cuts.items()]
        # A topic that was compacted accepts this as soon as its broker knows that it is no longer compacted.
        until(lambda: delete_records(environment, tps), what="deleted records")
    finally:
        for member in frozen:
            member.thaw()


def delete_records(environment: Environment, tps: list[TopicPartition]) -> bool:
    """Ask Kafka to delete the records before these offsets; return whether it has done so."""
    with suppress(KafkaException):
        for deleted in environment.admin.delete_records(tps).values():
            deleted.result(60)
        return True
    return False


@fault("transactions", "kafka", disturbs=False)
def transactions(environment: Environment) -> None:
    """Transactions, some of them aborted, among other records."""
    for _ in range(int(environment.seconds(4, 100))):
        environment.load.transaction(environment.source.randrange(1, 100), commit=environment.source.random() < 0.5)
        environment.let_time_pass(0.2)


@fault("compaction", *EVERYTHING)
def compaction(environment: Environment) -> None:
    """A compacted topic, with gaps where records were superseded before a worker read them."""
    number = len(environment.workers.untouched)
    for member in environment.workers.untouched:
        member.is_doomed = True
        assert member.stop(within=30) == 0, member.log
    compacted = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.0", "cleanup.policy": "compact"}
    for name, value in compacted.items():
        foreign.set_topic_config(environment.settings, environment.settings.topic, name, value)
    # A segment ends by the timestamps of its records: later ones than any before end each segment.
    with environment.load.shifted((MAX_DAYS_AHEAD + 1) * DAY_MS):
        environment.load.superseded(500)
        until(lambda: not superseded(environment), within=60, what="a compacted topic")
    for name, value in {"cleanup.policy": "delete", "segment.ms": "604800000"}.items():
        foreign.set_topic_config(environment.settings, environment.settings.topic, name, value)
    for _ in range(number):
        environment.workers.start()


def superseded(environment: Environment) -> int:
    """Return the number of records that compaction must still remove."""
    # The active segment is never compacted; one record in each partition starts the next segment.
    environment.load.events(20)
    environment.load.flush()
    records = foreign.read_to_end(environment.settings, environment.settings.topic)
    return sum(record.value() == b"superseded" for record in records)
