"""The local backend: Kafka, schema registry and MongoDB as child processes, without manual installation."""

from __future__ import annotations

ALTERNATIVES = """\
Alternatives: run `deploy/compose/secrets.sh` and `docker compose up` in a checkout of the project (compose.yaml), or
use existing servers: set their addresses in STREAMAPP_KAFKA_BOOTSTRAP_SERVERS, STREAMAPP_SCHEMA_REGISTRY_URL and
STREAMAPP_MONGO_URI."""
