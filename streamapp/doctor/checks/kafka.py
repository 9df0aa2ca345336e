"""Check Kafka: topics, replicas, retention, and the committed offsets of the consumer group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning
from streamapp.kafka.cli_hints import UNLIMITED_RETENTION, KafkaCli

#: A shorter retention is a warning: an outage of the worker that lasts longer loses events.
SHORT_RETENTION_MS = 86_400_000
_MILLIS_PER_HOUR = 3_600_000
#: The configuration that doctor proposes.
_ONE_WEEK = "retention.ms=604800000,retention.bytes=-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    """A partition as described by the broker."""

    replicas: int
    in_sync: int
    has_leader: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """A topic as described by the broker."""

    name: str
    partitions: Mapping[int, PartitionFacts]
    config: Mapping[str, str]
    #: None if the broker has no topic ids.
    topic_id: str | None = None

    def number(self, name: str, default: int) -> int:
        """Return a numeric configuration value."""
        return int(self.config.get(name, default))

    @property
    def is_compacted(self) -> bool:
        """Whether Kafka deletes all but the latest record of each key."""
        return "compact" in self.config.get("cleanup.policy", "delete")


def check_advertised(reached: Mapping[str, str | None], tools: KafkaCli) -> Finding:
    """Check that the advertised brokers can be reached; `reached` maps their addresses to errors."""
    check = "kafka.advertised"
    unreachable = {address: why for address, why in reached.items() if why}
    if not unreachable:
        return ok(check, f"the advertised brokers can be reached: {', '.join(reached)}")
    addresses = ", ".join(f"{address} ({why})" for address, why in unreachable.items())
    return fault(
        check,
        f"{tools.servers} answers, but advertises brokers that this machine cannot reach: {addresses}",
        "set advertised.listeners in the broker's server.properties to an address that this machine can reach, for"
        f" example advertised.listeners=PLAINTEXT://{tools.servers.split(',')[0]}",
    )


def check_codecs(readable_codecs: Mapping[str, bool]) -> Finding:
    """Check that the worker can read every compression codec."""
    missing = [name for name, is_readable in readable_codecs.items() if not is_readable]
    if missing:
        seen = f"the worker cannot read records compressed with {', '.join(missing)}: such a record stops it"
        return fault("kafka.compression", seen, "pip install 'aiokafka[lz4,snappy,zstd]'")
    return ok("kafka.compression", f"the worker can read {', '.join(readable_codecs)}")


def check_topic(topic: TopicFacts, *, partitions: int, is_loopback: bool, tools: KafkaCli) -> Findings:
    """Check the topic of the events."""
    yield _topic_id(topic)
    yield _partitions(topic, partitions, tools)
    yield check_replicas("kafka.replicas", topic, is_loopback=is_loopback, tools=tools)
    yield _cleanup(topic, tools)
    yield _retention(topic, tools)


def _topic_id(topic: TopicFacts) -> Finding:
    if topic.topic_id:
        return ok("kafka.topic_id", f"the topic id of {topic.name} is {topic.topic_id}")
    seen = "the broker has no topic ids: the _id of events has the topic name and the record's timestamp instead"
    return warning("kafka.topic_id", seen, "upgrade Kafka to 2.8 or later")


def _partitions(topic: TopicFacts, wanted: int, tools: KafkaCli) -> Finding:
    actual = len(topic.partitions)
    if leaderless := [number for number, each in topic.partitions.items() if not each.has_leader]:
        listed = ", ".join(map(str, leaderless))
        seen = f"partitions {listed} of {topic.name} have no leader: no client can read or write them"
        return fault(
            "kafka.partitions",
            seen,
            f"start the brokers of these partitions; this command lists them: {tools.describe_topic(topic.name)}",
        )
    if actual == wanted:
        return ok("kafka.partitions", f"{topic.name} has {actual} partitions")
    seen = (
        f"{topic.name} has {actual} partitions, but STREAMAPP_PARTITIONS is {wanted}: at most {actual} workers can"
        " share the topic"
    )
    more = f", or {tools.add_partitions(topic.name, wanted)}" if actual < wanted else ""
    return warning("kafka.partitions", seen, f"STREAMAPP_PARTITIONS={actual}{more}")


def check_replicas(check: str, topic: TopicFacts, *, is_loopback: bool, tools: KafkaCli) -> Finding:
    """Check that Kafka accepts writes, and that the loss of one broker loses no event."""
    replicas = min((each.replicas for each in topic.partitions.values()), default=0)
    in_sync = min((each.in_sync for each in topic.partitions.values()), default=0)
    least = topic.number("min.insync.replicas", 1)
    seen = f"{topic.name} has {replicas} replica{'s' * (replicas != 1)}, {in_sync} in sync, min.insync.replicas={least}"
    if least > replicas:
        fix = tools.alter_config(topic.name, f"min.insync.replicas={replicas}")
        return fault(check, f"{seen}: Kafka refuses every write", fix)
    if in_sync < least:
        fix = f"start the brokers that are down; this command lists them: {tools.describe_topic(topic.name)}"
        return fault(check, f"{seen}: Kafka refuses writes", fix)
    if in_sync < replicas:
        seen = f"{seen}: a broker is down or has not caught up, so there are fewer copies than configured"
        return warning(check, seen, "start the broker, or wait until it has caught up")
    if replicas == 1 and not is_loopback:
        fix = "create 3 replicas with kafka-reassign-partitions, then set min.insync.replicas=2"
        return warning(check, f"{seen}: if that broker is lost, its events are lost", fix)
    return ok(check, seen)


def _cleanup(topic: TopicFacts, tools: KafkaCli) -> Finding:
    if topic.is_compacted:
        seen = (
            f"{topic.name} is compacted: Kafka deletes an event when its user has a newer one, even if it was not read"
        )
        return warning("kafka.cleanup", seen, tools.alter_config(topic.name, "cleanup.policy=delete"))
    return ok("kafka.cleanup", f"{topic.name} is not compacted")


def _retention(topic: TopicFacts, tools: KafkaCli) -> Finding:
    age, size = topic.number("retention.ms", -1), topic.number("retention.bytes", -1)
    limit = "" if size < 0 else f", and at most {size:,} bytes per partition"
    seen = f"{topic.name} keeps records {_duration(age)}{limit}"
    if 0 <= age < SHORT_RETENTION_MS or size >= 0:
        seen = f"{seen}: Kafka deletes older records, even if no worker has read them"
        return warning("kafka.retention", seen, tools.alter_config(topic.name, _ONE_WEEK))
    return ok("kafka.retention", seen)


def _duration(millis: int) -> str:
    if millis < 0:
        return "without a time limit"
    hours = millis / _MILLIS_PER_HOUR
    return f"for {hours:.3g} hours" if hours >= 1 else f"for {millis / 1000:g} s"


def check_dead_letters(letters: TopicFacts, largest: int, *, is_loopback: bool, tools: KafkaCli) -> Findings:
    """Check the dead-letter topic; `largest` is the size of the largest dead letter in bytes."""
    yield check_replicas("dlq.replicas", letters, is_loopback=is_loopback, tools=tools)
    yield _dead_letters_retention(letters, tools)
    limit = letters.number("max.message.bytes", largest)
    if limit < largest:
        seen = (
            f"{letters.name} accepts records of up to {limit:,} bytes after compression, but a dead letter can have"
            f" {largest:,}: such a dead letter is written without its value"
        )
        yield warning("dlq.size", seen, tools.alter_config(letters.name, f"max.message.bytes={largest}"))
    else:
        yield ok(
            "dlq.size",
            f"{letters.name} accepts records of up to {limit:,} bytes after compression; a dead letter can have"
            f" {largest:,}",
        )


def _dead_letters_retention(letters: TopicFacts, tools: KafkaCli) -> Finding:
    if letters.is_compacted:
        seen = (
            f"{letters.name} is compacted: Kafka refuses dead letters without a key, and keeps only the latest one of"
            " each key"
        )
        return fault("dlq.kept", seen, tools.alter_config(letters.name, "cleanup.policy=delete"))
    limits = {name: letters.number(name, -1) for name in ("retention.ms", "retention.bytes")}
    if finite := [f"{name}={value}" for name, value in limits.items() if value >= 0]:
        seen = f"{letters.name} has {', '.join(finite)}: Kafka deletes old dead letters, even if they were not replayed"
        return warning("dlq.kept", seen, tools.alter_config(letters.name, UNLIMITED_RETENTION))
    return ok("dlq.kept", f"{letters.name} keeps dead letters without a limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The first retained offset of a partition, and its end offset."""

    start: int
    end: int


def check_group(
    bounds: Mapping[int, Bounds], committed: Mapping[int, int], *, topic: str, group: str, tools: KafkaCli
) -> Findings:
    """Check that the committed offsets of the group exist, and report its lag."""
    if not committed:
        waiting = sum(each.end - each.start for each in bounds.values())
        yield ok("group.offsets", f"the group {group} has no committed offset yet; {waiting:,} records wait to be read")
        return
    beyond = {p: at for p, at in committed.items() if at > bounds[p].end}
    deleted = {p: bounds[p].start - at for p, at in committed.items() if at < bounds[p].start}
    yield from _check_committed(beyond, deleted, topic, group, tools)
    lag = sum(max(0, each.end - max(committed.get(p, 0), each.start)) for p, each in bounds.items())
    yield ok("group.lag", f"{lag:,} records wait to be read by the group {group}")


def _check_committed(
    beyond: Mapping[int, int], deleted: Mapping[int, int], topic: str, group: str, tools: KafkaCli
) -> Iterator[Finding]:
    if beyond:
        seen = (
            f"the group {group} has committed offsets beyond the end of {len(beyond)} partitions ({_listed(beyond)}):"
            f" {topic} was deleted and re-created, and the group may skip records below these offsets"
        )
        yield fault("group.offsets", seen, tools.reset_offsets(topic, group))
    if deleted:
        seen = (
            f"Kafka has deleted {sum(deleted.values()):,} offsets that the group {group} had not read (partitions"
            f" {_listed(deleted)}): their events are lost"
        )
        fix = f"for the future, keep records longer: {tools.alter_config(topic, _ONE_WEEK)}"
        yield fault("group.deleted", seen, fix)
    if not beyond and not deleted:
        yield ok("group.offsets", f"the committed offsets of the group {group} exist")


def _listed(by_partition: Mapping[int, int]) -> str:
    return ", ".join(f"{partition}: {value:,}" for partition, value in sorted(by_partition.items()))
