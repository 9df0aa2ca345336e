"""The local backend: a real Kafka, schema registry and MongoDB as child processes, with nothing installed by hand."""

from __future__ import annotations

OTHER_WAYS = """\
Two other ways: `docker compose up` in a clone of the project (compose.yaml), or addresses of your own in
STREAMAPP_KAFKA_BOOTSTRAP_SERVERS, STREAMAPP_SCHEMA_REGISTRY_URL and STREAMAPP_MONGO_URI."""
