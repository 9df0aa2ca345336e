"""Apache Kafka in KRaft mode; each process is broker and controller."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL
from subprocess import PIPE, STDOUT

from confluent_kafka import KafkaException

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BackendError
from streamapp.local import children, cluster_size, programs
from streamapp.local.ports import Ports
from streamapp.local.process import Server, shorten
from streamapp.local.secure_kafka import KafkaSecurity
from streamapp.net import HOST, is_open

CLUSTER_ID = "c3RyZWFtYXBwLWxvY2FsMQ"  # any 16 bytes; fixed, because the cluster of a data folder stays the same
#: More replicas would be slower, and all brokers run on one machine anyway.
MAX_REPLICAS = 3
HEAP, CLUSTER_HEAP = "-Xmx512m", "-Xmx256m"
SILENT = logging.getLogger(f"{__name__}.silent")
SILENT.disabled = True

# Brokers create topics automatically (Kafka's default), because clients other than streamapp may write first.
PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners={listeners}
log.dirs={log_dirs}
num.partitions=4
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
"""
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dlog4j2.statusLoggerLevel=OFF")


def servers(
    *, java: Path, jars: Sequence[Path], data_dir: Path, ports: Ports, security: KafkaSecurity | None = None
) -> tuple[Server, ...]:
    """Return the brokers of a cluster, configured but not started; each has a data folder of its own.

    Raises:
        BackendError: a data folder cannot be formatted.
    """
    nodes = [
        _Node(number, cluster_size.folder(data_dir, "kafka", number), java, jars, security)
        for number in range(1, len(ports.kafkas) + 1)
    ]
    for node in nodes:
        node.configure(ports)
    # Concurrently: each takes a second or two.
    with ThreadPoolExecutor(len(nodes)) as threads:
        list(threads.map(_Node.format, nodes))
    return tuple(node.server(ports) for node in nodes)


class _Node:
    def __init__(
        self, number: int, folder: Path, java: Path, jars: Sequence[Path], security: KafkaSecurity | None
    ) -> None:
        self._number, self._folder, self._security = number, folder, security
        self._config = folder / "server.properties"
        options = security.java_options if security else ()
        self._run = [*programs.jvm(java, folder), *LOGGING, *options, "-cp", ":".join(map(str, jars))]

    def configure(self, ports: Ports) -> None:
        voters = enumerate(ports.kafka_controllers, start=1)
        replicas = min(MAX_REPLICAS, len(ports.kafkas))
        text = PROPERTIES.format(
            node=self._number,
            listeners=self._listeners(ports),
            voters=",".join(f"{number}@{HOST}:{port}" for number, port in voters),
            log_dirs=self._folder / "data",
            replicas=replicas,
            in_sync=replicas // 2 + 1,
        )
        self._config.write_text(text + (self._security.properties() if self._security else ""), encoding="utf-8")

    def _listeners(self, ports: Ports) -> str:
        port, controller_port = ports.kafkas[self._number - 1], ports.kafka_controllers[self._number - 1]
        if self._security is None:
            return f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}"
        tls_port = ports.kafkas_tls[self._number - 1]
        return self._security.listeners(port=port, tls_port=tls_port, controller_port=controller_port)

    def format(self) -> None:
        if (self._folder / "data" / "meta.properties").exists():
            return
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(self._config)]
        with children.start([*self._run, *tool], SIGKILL, stdout=PIPE, stderr=STDOUT) as process:
            output, _ = process.communicate()
        if process.returncode:
            raise BackendError(f"Kafka cannot format its storage:\n{shorten(output.decode('utf-8', 'replace'))}")

    def server(self, ports: Ports) -> Server:
        brokers = len(ports.kafkas)
        heap = HEAP if brokers == 1 else CLUSTER_HEAP
        return Server(
            name=cluster_size.title("Kafka", self._number, brokers),
            command=[*self._run, heap, "kafka.Kafka", str(self._config)],
            log=self._folder / "kafka.log",
            port=ports.kafkas[self._number - 1],
            answers=lambda: _answers(self._connection(ports), self._number),
        )

    def _connection(self, ports: Ports) -> KafkaConnection:
        if self._security is None:
            return KafkaConnection(servers=f"{HOST}:{ports.kafkas[self._number - 1]}")
        return self._security.admin(f"{HOST}:{ports.kafkas_tls[self._number - 1]}")


def _answers(connection: KafkaConnection, number: int) -> bool:
    """Return whether the broker lists itself as a member of the cluster, which requires an elected controller."""
    port = int(connection.servers.rpartition(":")[2])
    if not is_open(port):  # otherwise librdkafka would wait longer after each failed attempt
        return False
    try:
        admin = connection.admin(logger=SILENT)
        return number in admin.list_topics(timeout=2).brokers
    except KafkaException:
        return False
