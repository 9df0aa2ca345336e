"""Apache Kafka as one process, broker and controller in one (KRaft)."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamapp.errors import BackendError
from streamapp.local import programs
from streamapp.local.ports import HOST, Ports, is_open
from streamapp.local.process import Server, on_leash, shorten

CLUSTER_ID = "c3RyZWFtYXBwLWxvY2FsMQ"  # any 16 bytes; fixed, since a folder of data is one cluster for ever
SILENT = logging.getLogger(f"{__name__}.silent")
SILENT.disabled = True

# Topics: foreign clients may be the first to write, so brokers make topics by themselves, as Kafka does by default.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
log.dirs={log_dirs}
num.partitions=4
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dlog4j2.statusLoggerLevel=OFF")


def server(*, java: Path, jars: Sequence[Path], folder: Path, ports: Ports) -> Server:
    """Return Kafka, keeping its data in `folder`, ready to be started.

    Raises:
        BackendError: the folder cannot be prepared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = _configure(folder, ports)
    run = [*programs.jvm(java, folder), *LOGGING, "-cp", ":".join(map(str, jars))]
    if not (folder / "data" / "meta.properties").exists():
        _format([*run, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(config)])
    command = [*run, "-Xmx512m", "kafka.Kafka", str(config)]
    return Server(name="Kafka", command=command, log=folder / "kafka.log", answers=lambda: _answers(ports.kafka))


def _configure(folder: Path, ports: Ports) -> Path:
    config = folder / "server.properties"
    text = PROPERTIES.format(
        host=HOST, port=ports.kafka, controller_port=ports.kafka_controller, log_dirs=folder / "data"
    )
    config.write_text(text, encoding="utf-8")
    return config


def _format(command: list[str]) -> None:
    done = subprocess.run(on_leash(command, SIGKILL), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"Kafka's storage cannot be formatted:\n{shorten(done.stdout + done.stderr)}")


def _answers(port: int) -> bool:
    if not is_open(port):  # without this, librdkafka would wait ever longer between its attempts
        return False
    try:
        admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}"}, logger=SILENT)
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
