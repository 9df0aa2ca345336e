"""What becomes of schemas under a running worker: the shape of documents, their labels, and no restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from streamapp.model import event
from streamapp.settings import Settings
from tests.support import events, foreign
from tests.support.offsets import committed, end_offsets
from tests.support.registry_server import RegistrySubject, serving
from tests.support.shapes import TEXT, event_schema, field, record
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, run

BROWSER = field("browser", TEXT, default=None)
#: An optional field; then a nested record, and the field under another name and with another default.
V3 = event_schema(BROWSER, field("plan", default="free"))
APP = record("App", field("build", "int"), field("channel", default="store"))
V4 = event_schema(BROWSER, field("tier", "string", "plan", default="none"), field("app", ["null", APP], default=None))
#: The browser under another name: events of earlier versions are still counted by it.
V5 = event_schema(field("agent", TEXT, "browser", default=None), *V4["fields"][-2:])
BREAKING = event_schema(BROWSER, field("plan", "int"))
OWN = {"_id", "user_id", "event_type", "event_timestamp", "metadata", "received_at", "kafka"}


class Pipeline:
    """Sends events of any schema, and finds what became of them."""

    def __init__(self, settings: Settings, database: Database[Any]) -> None:
        self.settings = settings
        self.database = database
        self._producer = foreign.ForeignProducer(settings)
        self._sent = 0

    def send(self, schema: Any, schema_id: int, **more: Any) -> dict[str, Any]:
        """Send an event; return its document without what every document has."""
        self._sent += 1
        user = f"user-{self._sent}"
        values = {**events.an_event(self._sent), **more, "user_id": user}
        self._producer.send_all([foreign.wire(values, schema, schema_id)])
        found = until(lambda: self.database.events.find_one({"user_id": user}), what="the document")
        return {name: value for name, value in found.items() if name not in OWN}

    def send_dead(self, value: bytes) -> str:
        """Send a record that is no event; return the reason of its dead letter."""
        before = self.dead_letters()
        self._producer.send_all([value])
        until(lambda: self.dead_letters() != before, what="a counted dead letter")
        (reason,) = self.dead_letters() - before
        return reason

    def dead_letters(self) -> Counter[str]:
        """The counted dead letters."""
        return Counter({each["reason"]: each["n"] for each in self.database.dead_letters.find()})

    def await_shape(self, version: int) -> None:
        """Wait until the worker has learned of a version that is registered."""
        noted = {"subject": self.settings.subject, "version": version}
        until(lambda: self.database.canonical_schemas.count_documents(noted), what=f"the shape of v{version}")

    def check(self) -> None:
        """Compare all with the topic, and the rollups with the events."""
        until(lambda: committed(self.settings) == end_offsets(self.settings), what="no lag")
        for command in ("verify", "rollups check"):
            done = run(STREAMAPP, *command.split(), "--json", settings=self.settings)
            assert done.returncode == 0, done.stdout + done.stderr

    def migrate(self, *options: str) -> Mapping[str, Any]:
        """Run `schema migrate`."""
        done = run(STREAMAPP, "schema", "migrate", "--json", *options, settings=self.settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def pipeline(settings: Settings, database: Database[Any]) -> Pipeline:
    """Return the pipeline of a topic that exists; the worker sends no samples."""
    settings = settings.model_copy(update={"produce_interval_seconds": 0})
    foreign.make_topic(settings)
    return Pipeline(settings, database)


def test_all_versions_have_one_shape(pipeline: Pipeline, tmp_path: Path) -> None:
    """Unannounced versions, renames, new defaults, refused and deleted ones; a migration under the running worker."""
    settings = pipeline.settings
    ids = {1: foreign.register(settings, event.schema(1)), 2: foreign.register(settings, event.schema(2))}
    level = f"{settings.schema_registry_url}/config/{settings.subject}"
    httpx.put(level, json={"compatibility": "BACKWARD"}).raise_for_status()
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        v1 = {"schema_version": "v1", "schema_id": ids[1], "browser": None}
        v2 = {"schema_version": "v2", "schema_id": ids[2], "browser": "edge"}
        assert v1 == pipeline.send(event.schema(1), ids[1])
        assert v2 == pipeline.send(event.schema(2), ids[2], browser="edge")

        ids[3] = foreign.register(settings, V3)
        v3 = {"schema_version": "v3", "schema_id": ids[3], "browser": None}
        assert {**v3, "plan": "paid"} == pipeline.send(V3, ids[3], browser=None, plan="paid")
        assert {**v1, "plan": "free"} == pipeline.send(event.schema(1), ids[1])

        ids[4] = foreign.register(settings, V4)
        pipeline.await_shape(4)
        v4 = {"schema_version": "v4", "schema_id": ids[4], "browser": None}
        app = {"build": 7, "channel": "beta"}
        assert {**v4, "tier": "gold", "app": app} == pipeline.send(V4, ids[4], browser=None, tier="gold", app=app)
        assert {**v3, "tier": "paid", "app": None} == pipeline.send(V3, ids[3], browser=None, plan="paid")
        assert {**v1, "tier": "none", "app": None} == pipeline.send(event.schema(1), ids[1])

        with pytest.raises(httpx.HTTPStatusError, match="409"):
            foreign.register(settings, BREAKING)
        other = foreign.register(settings, BREAKING, f"{settings.topic}-other")
        unregistered = {"schema_version": "unregistered", "schema_id": other, "browser": None}
        assert {**unregistered, "tier": 3, "app": None} == pipeline.send(BREAKING, other, browser=None, plan=3)
        order = foreign.register(settings, events.ORDER, f"{settings.topic}-orders")
        assert pipeline.send_dead(foreign.wire({"total": 1.0}, events.ORDER, order)) == "incompatible-schema"

        ids[5] = foreign.register(settings, V5)
        v5 = {"schema_version": "v5", "schema_id": ids[5], "app": None}
        stored = pipeline.send(V5, ids[5], agent="lynx", tier="x", app=None)
        assert {**v5, "agent": "lynx", "browser": None, "tier": "x"} == stored
        assert {**v2, "agent": "edge", "tier": "none", "app": None} == pipeline.send(
            event.schema(2), ids[2], browser="edge"
        )

        pipeline.check()
        migrated = pipeline.migrate("--dry-run")["to_migrate"]
        assert (migrated, 0) == (pipeline.migrate()["migrated"], pipeline.migrate()["migrated"])
        assert migrated > 0
        assert {"agent", "tier", "app", "browser"} <= set.intersection(
            *(set(each) for each in pipeline.database.events.find())
        )
        pipeline.check()

        url = f"{settings.schema_registry_url}/subjects/{settings.subject}/versions/5"
        httpx.delete(url).raise_for_status()
        until(lambda: "agent" not in pipeline.send(event.schema(1), ids[1]), what="the shape of v4")
        assert pipeline.send(V5, ids[5], agent="lynx", tier="x", app=None)["schema_version"] == "v5"
        pipeline.check()
        assert worker.stop() == 0, worker.text


def test_off_stores_events_as_written(pipeline: Pipeline, tmp_path: Path) -> None:
    """No field is added or renamed; `verify` accepts these documents, also once the shape is turned on."""
    settings = pipeline.settings
    schemas = {1: event.schema(1), 2: event.schema(2), 3: V3, 4: V4}
    ids = {number: foreign.register(settings, schema) for number, schema in schemas.items()}
    app = {"build": 7, "channel": "beta"}
    v1 = {"schema_version": "v1", "schema_id": ids[1], "browser": None}
    v3 = {"schema_version": "v3", "schema_id": ids[3], "browser": None}
    v4 = {"schema_version": "v4", "schema_id": ids[4], "browser": None, "tier": "gold", "app": app}

    with Worker(settings.model_copy(update={"canonical": False}), tmp_path) as worker:
        worker.wait_until_ready()
        assert v4 == pipeline.send(V4, ids[4], browser=None, tier="gold", app=app)
        assert {**v3, "plan": "paid"} == pipeline.send(V3, ids[3], browser=None, plan="paid")
        assert v1 == pipeline.send(event.schema(1), ids[1])
        pipeline.check()
        assert 0 == pipeline.database.canonical_schemas.count_documents({})
        assert worker.stop() == 0, worker.text

    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        assert {**v3, "tier": "paid", "app": None} == pipeline.send(V3, ids[3], browser=None, plan="paid")
        pipeline.check()
        assert 2 == pipeline.migrate()["migrated"]
        pipeline.check()
        assert worker.stop() == 0, worker.text


def test_a_registry_may_be_restored_and_give_ids_anew(pipeline: Pipeline, tmp_path: Path) -> None:
    """An id that belongs to another schema than before is read with it, without a restart."""
    later = event_schema(BROWSER, field("score", "int", default=0))
    with serving(RegistrySubject(pipeline.settings.subject)) as registry:
        settings = pipeline.settings.model_copy(update={"schema_registry_url": registry.url})
        registry.versions = [(1, event.schema(1)), (2, event.schema(2)), (3, V3)]
        with Worker(settings, tmp_path) as worker:
            worker.wait_until_ready()
            assert pipeline.send(V3, 3, browser="b", plan="paid")["plan"] == "paid"
            # The copy is older than version 3, whose id another schema gets; version 1 has another id.
            registry.versions = [(11, event.schema(1)), (2, event.schema(2)), (3, later), (4, V3)]
            registry.requested.clear()
            # The ids are read again, and then the latest version, for the next time.
            until(lambda: "latest" in " ".join(registry.requested).partition("ids/3/versions")[2], what="a new look-up")
            found = pipeline.send(later, 3, browser="b", score=7)
            assert {"schema_version": "v3", "score": 7, "plan": "free"}.items() <= found.items()
            assert pipeline.send(event.schema(1), 11)["schema_version"] == "v1"
            assert pipeline.send(V3, 4, browser=None, plan="paid")["schema_version"] == "v4"
            assert worker.stop() == 0, worker.text
