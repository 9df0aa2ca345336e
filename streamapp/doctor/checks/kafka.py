"""Judge Kafka: topics, replicas, what is kept for how long, what the group has committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning
from streamapp.kafka.cli_hints import UNLIMITED_RETENTION, KafkaCli

#: Below this many milliseconds a weekend's outage loses events.
SHORT_RETENTION_MS = 86_400_000
_MILLIS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    """One partition, as the broker tells of it."""

    replicas: int
    in_sync: int
    has_leader: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """A topic that exists."""

    name: str
    partitions: Mapping[int, PartitionFacts]
    config: Mapping[str, str]
    #: UUID; None where the broker has none.
    topic_id: str | None = None

    def number(self, name: str, default: int) -> int:
        """A number of its configuration."""
        return int(self.config.get(name, default))

    @property
    def is_compacted(self) -> bool:
        """Whether the latest record of each key replaces those before it."""
        return "compact" in self.config.get("cleanup.policy", "delete")


def judge_advertised(reached: Mapping[str, str | None], tools: KafkaCli) -> Finding:
    """Address of each broker → why it cannot be reached."""
    check = "kafka.advertised"
    lost = {address: why for address, why in reached.items() if why}
    if not lost:
        return ok(check, f"reached: {', '.join(reached)}")
    seen = ", ".join(f"{address} ({why})" for address, why in lost.items())
    return fault(
        check,
        f"{tools.servers} answers, but sends clients on to {seen}, which cannot be reached from here",
        "set advertised.listeners in the broker's server.properties to an address that this machine reaches, such as"
        f" advertised.listeners=PLAINTEXT://{tools.servers.split(',')[0]}",
    )


def judge_codecs(readable: Mapping[str, bool]) -> Finding:
    """Compression → whether the worker can read it."""
    missing = [name for name, is_readable in readable.items() if not is_readable]
    if missing:
        seen = f"records compressed with {', '.join(missing)} would stop the worker"
        return fault("kafka.compression", seen, "pip install 'aiokafka[lz4,snappy,zstd]'")
    return ok("kafka.compression", f"{', '.join(readable)} can be read")


def judge_topic(topic: TopicFacts, *, partitions: int, is_loopback: bool, tools: KafkaCli) -> Findings:
    """All about the events' topic."""
    yield _topic_id(topic)
    yield _partitions(topic, partitions, tools)
    yield judge_replicas("kafka.replicas", topic, is_loopback=is_loopback, tools=tools)
    yield _cleanup(topic, tools)
    yield _retention(topic, tools)


def _topic_id(topic: TopicFacts) -> Finding:
    if topic.topic_id:
        return ok("kafka.topic_id", f"{topic.name} is {topic.topic_id}")
    seen = "this broker has no topic ids: events are told apart by topic, partition, offset and time instead"
    return warning("kafka.topic_id", seen, "upgrade Kafka to 2.8 or newer")


def _partitions(topic: TopicFacts, wanted: int, tools: KafkaCli) -> Finding:
    there = len(topic.partitions)
    if leaderless := [number for number, each in topic.partitions.items() if not each.has_leader]:
        seen = f"no leader for partitions {', '.join(map(str, leaderless))} of {topic.name}: nobody can read them"
        return fault("kafka.partitions", seen, f"start the brokers that hold them: {tools.describe_topic(topic.name)}")
    if there == wanted:
        return ok("kafka.partitions", f"{topic.name} has {there}")
    seen = (
        f"{topic.name} has {there} partitions, STREAMAPP_PARTITIONS is {wanted}; no more than {there} workers share it"
    )
    more = f", or {tools.add_partitions(topic.name, wanted)}" if there < wanted else ""
    return warning("kafka.partitions", seen, f"STREAMAPP_PARTITIONS={there}{more}")


def judge_replicas(check: str, topic: TopicFacts, *, is_loopback: bool, tools: KafkaCli) -> Finding:
    """Whether writes are taken, and whether a broker may be lost."""
    replicas = min((each.replicas for each in topic.partitions.values()), default=0)
    in_sync = min((each.in_sync for each in topic.partitions.values()), default=0)
    least = topic.number("min.insync.replicas", 1)
    seen = f"{topic.name} has {replicas} replica{'s' * (replicas != 1)}, {in_sync} in sync, min.insync.replicas={least}"
    if least > replicas:
        return fault(
            check, f"{seen}: every write is refused", tools.alter_config(topic.name, f"min.insync.replicas={replicas}")
        )
    if in_sync < least:
        return fault(check, f"{seen}: writes are refused", "start the brokers that are down")
    if in_sync < replicas:
        return warning(check, f"{seen}: a broker is down or behind", "start it, or wait until it has caught up")
    if replicas == 1 and not is_loopback:
        fix = "give it 3 with kafka-reassign-partitions, and then min.insync.replicas=2"
        return warning(check, f"{seen}: a broker that is lost takes events with it", fix)
    return ok(check, seen)


def _cleanup(topic: TopicFacts, tools: KafkaCli) -> Finding:
    if topic.is_compacted:
        seen = f"{topic.name} is compacted: events are deleted when their user has a newer one, read or not"
        return warning("kafka.cleanup", seen, tools.alter_config(topic.name, "cleanup.policy=delete"))
    return ok("kafka.cleanup", f"{topic.name} is not compacted")


def _retention(topic: TopicFacts, tools: KafkaCli) -> Finding:
    kept, size = topic.number("retention.ms", -1), topic.number("retention.bytes", -1)
    limit = "" if size < 0 else f", and no more than {size:,} bytes a partition"
    seen = f"{topic.name} keeps records for {_duration(kept)}{limit}"
    if 0 <= kept < SHORT_RETENTION_MS or size >= 0:
        seen = f"{seen}: a worker that is away for longer loses events"
        return warning(
            "kafka.retention", seen, tools.alter_config(topic.name, "retention.ms=604800000,retention.bytes=-1")
        )
    return ok("kafka.retention", seen)


def _duration(millis: int) -> str:
    if millis < 0:
        return "ever"
    hours = millis / _MILLIS_PER_HOUR
    return f"{hours:.3g} hours" if hours >= 1 else f"{millis / 1000:g} s"


def judge_dead_letters(letters: TopicFacts, largest: int, *, is_loopback: bool, tools: KafkaCli) -> Findings:
    """The dead-letter topic; `largest` is the size that a dead letter of the events' topic may have."""
    yield judge_replicas("dlq.replicas", letters, is_loopback=is_loopback, tools=tools)
    yield _letters_kept(letters, tools)
    limit = letters.number("max.message.bytes", largest)
    if limit < largest:
        seen = f"{letters.name} takes {limit:,} bytes; a dead letter may have {largest:,}, and then stops the worker"
        yield warning("dlq.size", seen, tools.alter_config(letters.name, f"max.message.bytes={largest}"))
    else:
        yield ok("dlq.size", f"{letters.name} takes {limit:,} bytes, the largest dead letter has {largest:,}")


def _letters_kept(letters: TopicFacts, tools: KafkaCli) -> Finding:
    if letters.is_compacted:
        seen = f"{letters.name} is compacted: it refuses dead letters without a key, and deletes others"
        return fault("dlq.kept", seen, tools.alter_config(letters.name, "cleanup.policy=delete"))
    limits = {name: letters.number(name, -1) for name in ("retention.ms", "retention.bytes")}
    if finite := [f"{name}={value}" for name, value in limits.items() if value >= 0]:
        seen = f"{letters.name} has {', '.join(finite)}: dead letters are deleted, read or not"
        return warning("dlq.kept", seen, tools.alter_config(letters.name, UNLIMITED_RETENTION))
    return ok("dlq.kept", f"{letters.name} keeps dead letters for ever")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The first offset of a partition that is still there, and its end."""

    start: int
    end: int


def judge_group(
    bounds: Mapping[int, Bounds], committed: Mapping[int, int], *, topic: str, group: str, tools: KafkaCli
) -> Findings:
    """How far the group is, and whether what it has committed is still there."""
    if not committed:
        waiting = sum(each.end - each.start for each in bounds.values())
        yield ok("group.offsets", f"{group} has committed nothing yet; {waiting:,} records wait")
        return
    beyond = {p: at for p, at in committed.items() if at > bounds[p].end}
    lost = {p: bounds[p].start - at for p, at in committed.items() if at < bounds[p].start}
    yield from _misplaced(beyond, lost, topic, group, tools)
    lag = sum(max(0, each.end - max(committed.get(p, 0), each.start)) for p, each in bounds.items())
    yield ok("group.lag", f"{lag:,} records wait for {group}")


def _misplaced(
    beyond: Mapping[int, int], lost: Mapping[int, int], topic: str, group: str, tools: KafkaCli
) -> Iterator[Finding]:
    if beyond:
        seen = (
            f"{group} has committed offsets beyond the end of {len(beyond)} partitions ({_listed(beyond)}): {topic} was"
            " made again, and records below these offsets may be passed over"
        )
        yield fault("group.offsets", seen, tools.reset_offsets(topic, group))
    if lost:
        seen = (
            f"Kafka has deleted {sum(lost.values()):,} offsets that {group} had not read (partitions {_listed(lost)})"
        )
        longer = tools.alter_config(topic, "retention.ms=604800000,retention.bytes=-1")
        yield fault("group.deleted", seen, f"they are gone; keep records longer: {longer}")
    if not beyond and not lost:
        yield ok("group.offsets", f"all that {group} has committed is there")


def _listed(by_partition: Mapping[int, int]) -> str:
    return ", ".join(f"{partition}: {value:,}" for partition, value in sorted(by_partition.items()))
