"""`python -m benchmarks.programs.connect insert|replace TASKS`: the MongoDB Kafka Connector, on JSON.

Kafka Connect standalone with the connector's defaults, except for the number of records per poll, which equals that of
the hand-written loop. Its documents are the events as they are in the topic. This process becomes the Java process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamapp import net
from streamapp.local import artifacts, lock, programs
from streamapp.settings import Settings

CONNECTOR_VERSION = "2.0.1"
_MONGODB = "com.mongodb.kafka.connect.sink"
_WRITING = {
    "insert": {"writemodel.strategy": f"{_MONGODB}.writemodel.strategy.InsertOneDefaultStrategy"},
    "replace": {
        "writemodel.strategy": f"{_MONGODB}.writemodel.strategy.ReplaceOneDefaultStrategy",
        "document.id.strategy": f"{_MONGODB}.processor.id.strategy.KafkaMetaDataStrategy",
    },
}


def main(writing: str, tasks: str) -> None:
    """Write the two property files of Kafka Connect, and replace this process by Kafka Connect."""
    settings, folder = Settings(), Path(tempfile.mkdtemp())
    *class_path, plugin = jars(settings)
    worker = _write(folder / "worker.properties", _worker(settings, folder, plugin))
    connector = _write(folder / "connector.properties", _connector(settings, tasks) | _WRITING[writing])
    java = programs.java(settings.local_java)
    options = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", ":".join(map(str, class_path))]
    command = [str(java), *options, "org.apache.kafka.connect.cli.ConnectStandalone", str(worker), str(connector)]
    os.execv(java, command)  # noqa: S606 - no shell is wanted


def jars(settings: Settings) -> Sequence[Path]:
    """Return Kafka Connect's class path, last the connector with its MongoDB driver; download what is missing."""
    cache = artifacts.cache_folder(settings.local_cache_dir)
    name = f"connect-{settings.local_kafka_version}-{CONNECTOR_VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with lock.held(cache / "lock", wait=True):
        return artifacts.read_manifest(cache, name) or _fetch(settings.local_kafka_version, cache, name)


def _fetch(version: str, cache: Path, name: str) -> Sequence[Path]:
    from streamapp.local.download import class_path, repository  # noqa: PLC0415 - slow, and most starts fetch nothing

    with repository(cache / "repository", f"Kafka Connect {version}") as maven:
        found = class_path(maven, f"org.apache.kafka:connect-runtime:{version}")
        connector = maven.project("org.mongodb.kafka", "mongo-kafka-connect").at_version(CONNECTOR_VERSION)
        found.append(connector.artifact(classifier="all").resolve())
    artifacts.write_manifest(cache, name, found)
    return found


def _worker(settings: Settings, folder: Path, plugin: Path) -> dict[str, object]:
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "plugin.path": plugin.parent,
        "listeners": f"http://{net.HOST}:{net.choose_port()}",
        "offset.storage.file.filename": folder / "offsets",
        "connector.client.config.override.policy": "All",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
    }


def _connector(settings: Settings, tasks: str) -> dict[str, object]:
    return {
        "name": settings.app_id,
        "connector.class": "com.mongodb.kafka.connect.MongoSinkConnector",
        "tasks.max": tasks,
        "topics": settings.topic,
        "connection.uri": settings.mongo_uri.get_secret_value(),
        "database": settings.mongo_database,
        "collection": "events",
        "consumer.override.max.poll.records": 5_000,
    }


def _write(path: Path, properties: Mapping[str, object]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
