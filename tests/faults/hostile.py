"""Records that an attacker or a faulty client sends, and a Kafka that forgets what it has acknowledged."""

from __future__ import annotations

from tests.faults.catalogue import EVERYTHING, fault
from tests.faults.environment import Environment
from tests.faults.topics import recreate
from tests.support import kafka_log
from tests.support.offsets import end_offsets

#: Offsets behind the end of a partition that forged headers claim: more than the load sends before they are sent, and
#: few enough that genuine events get them later.
CLAIMED_AHEAD = 5_000


@fault("odd-headers", "kafka", "load", disturbs=False)
def odd_headers(environment: Environment) -> None:
    """Events with a header name that is not UTF-8, which Kafka does not check."""
    for turn in range(int(environment.seconds(4, 100))):
        environment.load.odd_header(turn % environment.settings.partitions)
        environment.let_time_pass(0.2)


@fault("bombs", "registry", "load", disturbs=False)
def bombs(environment: Environment) -> None:
    """Small records that take much memory or time: items without bytes, arrays that expand, decimals that are long."""
    for _ in range(int(environment.seconds(4, 100))):
        environment.load.bombs()
        environment.let_time_pass(0.3)


@fault("forged-letters", "kafka", "load", disturbs=False)
def forged_letters(environment: Environment) -> None:
    """Events with the headers of a dead letter, which claim offsets that genuine events get later."""
    for _ in range(int(environment.seconds(4, 100))):
        for partition, end in end_offsets(environment.settings).items():
            environment.load.forged(partition, end + CLAIMED_AHEAD)
        environment.let_time_pass(0.3)


@fault("topic-recreated-while-frozen", *EVERYTHING)
def topic_recreated_while_frozen(environment: Environment) -> None:
    """The topic is deleted, created again and written while all workers are frozen for a moment."""
    with environment.load.paused():
        environment.wait_for(environment.is_drained, what="zero lag before the topic is deleted", within=90)
        frozen = environment.workers.untouched
        for member in frozen:
            member.freeze()
        try:
            recreate(environment)
            environment.load.events(200)
            environment.load.flush()
        finally:
            for member in frozen:
                member.thaw()
    environment.let_time_pass(environment.seconds(1, 60))


@fault("log-truncated", *EVERYTHING)
def log_truncated(environment: Environment) -> None:
    """The broker loses the end of its log, whose events are stored, and other records get the lost offsets."""
    with environment.load.paused():
        environment.wait_for(environment.is_drained, what="zero lag", within=90)
        before = end_offsets(environment.settings)
        environment.load.events(environment.source.randint(50, 400))
        environment.load.flush()
        environment.wait_for(environment.is_drained, what="zero lag before the log is truncated", within=90)
        ends = kafka_log.truncate(environment.backend, environment.settings.topic, ends=before)
        environment.load.lose(ends)
        environment.load.connect()
        environment.load.events(environment.source.randint(50, 800))
        environment.load.flush()
    environment.let_time_pass(environment.seconds(1, 60))
