"""What happens to a topic: made anew, widened, cut, compacted, written in transactions."""

from __future__ import annotations

from contextlib import suppress

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions

from tests.faults.catalogue import EVERYTHING, fault
from tests.faults.environment import TOPIC, Scene
from tests.support import foreign
from tests.support.offsets import committed, end_offsets
from tests.support.until import until


@fault("topic-made-anew", *EVERYTHING)
def topic_made_anew(scene: Scene) -> None:
    """The topic is deleted once all of it is stored, and made again; both lives stay."""
    with scene.load.paused():
        scene.wait_for(scene.is_drained, what="zero lag before the topic's end", within=90)
        scene.admin.delete_topics([scene.settings.topic])[scene.settings.topic].result(20)
        scene.settings = scene.settings.model_copy(update={"partitions": 4})
        until(lambda: is_made(scene), what="the topic's second life")
        for name, value in TOPIC.items():
            foreign.set_topic_config(scene.settings, scene.settings.topic, name, value)
        scene.load.life = scene.life()
        scene.load.connect()
    scene.linger(scene.seconds(1, 60))


def is_made(scene: Scene) -> bool:
    """Make the topic, unless it has just been made: the broker makes it for a worker that asks for it."""
    before = scene.load.life
    with suppress(KafkaException):
        foreign.make_topic(scene.settings)
    return scene.life() != before


@fault("partitions-added", "kafka", "load", disturbs=True)
def partitions_added(scene: Scene) -> None:
    """The topic gets two more partitions, which are found and read."""
    more = scene.settings.partitions + 2
    scene.admin.create_partitions([NewPartitions(scene.settings.topic, more)])[scene.settings.topic].result(20)
    scene.settings = scene.settings.model_copy(update={"partitions": more})
    scene.wait_for(lambda: committed(scene.settings)[more - 1] > 0, what="commits in the last partition", within=120)


@fault("retention", "kafka", "workers", "load", disturbs=True)
def retention(scene: Scene) -> None:
    """Kafka deletes records that the workers, frozen for a moment, have not read."""
    life = scene.load.life
    frozen = scene.crew.fit
    for member in frozen:
        member.freeze()
    try:
        # A partition of which nothing is committed yet begins for the group where Kafka has it begin.
        before = {partition: offset for partition, offset in committed(scene.settings).items() if offset}
        scene.load.events(4_000)
        scene.load.flush()
        ends = end_offsets(scene.settings)
        cuts = {partition: max(ends[partition] - 100, offset) for partition, offset in before.items()}
        for partition, cut in cuts.items():
            begin, _ = scene.cuts.get((life, partition), (before[partition], 0))
            scene.cuts[life, partition] = (min(begin, before[partition]), cut)
        tps = [TopicPartition(scene.settings.topic, partition, cut) for partition, cut in cuts.items()]
        # Which a topic that was compacted a moment ago takes as soon as its broker has heard that it is none any more.
        until(lambda: is_taken(scene, tps), what="deleted records")
    finally:
        for member in frozen:
            member.thaw()


def is_taken(scene: Scene, tps: list[TopicPartition]) -> bool:
    """Ask Kafka to delete the records before these offsets; return whether it has."""
    with suppress(KafkaException):
        for deleted in scene.admin.delete_records(tps).values():
            deleted.result(20)
        return True
    return False


@fault("transactions", "kafka", disturbs=False)
def transactions(scene: Scene) -> None:
    """Transactions, some of them aborted, among other records."""
    for _ in range(int(scene.seconds(4, 100))):
        scene.load.transaction(scene.source.randrange(1, 100), commit=scene.source.random() < 0.5)
        scene.linger(0.2)


@fault("compaction", *EVERYTHING)
def compaction(scene: Scene) -> None:
    """A compacted topic, with gaps where records were superseded before anybody read them."""
    number = len(scene.crew.fit)
    for member in scene.crew.fit:
        member.is_doomed = True
        assert member.stop(within=30) == 0, member.log
    compacted = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.0", "cleanup.policy": "compact"}
    for name, value in compacted.items():
        foreign.set_topic_config(scene.settings, scene.settings.topic, name, value)
    scene.load.superseded(500)
    until(lambda: not superseded(scene), within=60, what="a compacted topic")
    for name, value in {"cleanup.policy": "delete", "segment.ms": "604800000"}.items():
        foreign.set_topic_config(scene.settings, scene.settings.topic, name, value)
    for _ in range(number):
        scene.crew.start()


def superseded(scene: Scene) -> int:
    """Return how many records are left that compaction is to remove."""
    # The segment that is being written is never compacted; a record in each partition begins the next.
    scene.load.events(20)
    scene.load.flush()
    records = foreign.read_to_end(scene.settings, scene.settings.topic)
    return sum(record.value() == b"superseded" for record in records)
