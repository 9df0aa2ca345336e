"""`schema migrate` with a real MongoDB: documents get the latest shape, each in one update, and keep their values."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.evolution import migration
from streamapp.evolution.migration import Migration, MigrationResult, is_schema_of
from streamapp.mongodb.client import Mongo
from streamapp.settings import Settings
from tests.support.factories import V1, V2
from tests.support.rollup_factory import an_event
from tests.support.shapes import TEXT, event_schema, field, latest, record
from tests.support.until import until

PLACE = record("Place", field("city", default="?"))
TOWN = record("Place", field("town", "string", "city", default="?"), field("zip", "int", default=7))
V3 = writer_schema(event_schema(field("place", ["null", PLACE]), field("lang")), schema_id=3, version="v3")
LATEST = latest(
    field("agent", TEXT, "browser", default=None),
    field("spot", ["null", TOWN], "place", default=None),
    field("locale", "string", "language", "lang", default="de"),
    field("tags", {"type": "array", "items": "string"}, default=["$a"]),
    metadata=[field("os", default="?")],
)
SCHEMAS = {1: V1, 2: V2, 3: V3}
SUBJECT = "user_events-value"


@pytest.fixture
def mongo(settings: Settings) -> Generator[Mongo]:
    """Return the access to the test's database."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    yield mongo
    mongo.close()


def migrate(mongo: Mongo, **options: Any) -> MigrationResult:
    """Run a migration."""
    return Migration(mongo, LATEST, subject=SUBJECT, look_up=SCHEMAS.get, **options).run(lambda _: None)


def stored(offset: int, writer: WriterSchema, **more: Any) -> dict[str, Any]:
    """The document of an event."""
    return an_event(offset, **{"schema_id": writer.schema_id, "schema_version": writer.version} | more)


OS = {"device": "mobile", "location": "DE", "os": "?"}
ADDED = {"agent": None, "spot": None, "locale": "de", "tags": ["$a"], "metadata": OS}
#: Documents, and what each becomes.
DOCUMENTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (stored(0, V1), ADDED),
    (stored(1, V2, browser="$edge"), {**ADDED, "agent": "$edge"}),
    (stored(2, V3, place={"city": "B"}, lang="fr"), {**ADDED, "spot": {"town": "B", "zip": 7}, "locale": "fr"}),
    (stored(3, V3, place=None, lang="fr"), {**ADDED, "locale": "fr"}),
    (stored(4, V1, language="en"), {**ADDED, "locale": "en"}),  # added under an earlier name
    (stored(5, V1, **ADDED, more=1), {}),
    (stored(6, V1, locale="it"), {**ADDED, "locale": "it"}),  # added with an earlier default
    (stored(7, V1, schema_version="unregistered"), ADDED),
]
#: Documents that stay as they are.
OTHERS = [
    stored(10, V1, schema_id=9),
    stored(11, V1, schema_version="v7"),
    stored(12, V1, schema_id="1"),
    {"_id": "of another program"},
    {"_id": ObjectId()},
]


def expected() -> dict[Any, dict[str, Any]]:
    """All documents after the migration, by `_id`."""
    gone = {"place", "lang", "language"}
    changed = [
        {name: value for name, value in {**before, **after}.items() if name not in gone} for before, after in DOCUMENTS
    ]
    return {each["_id"]: each for each in [*changed, *OTHERS]}


def found(database: Database[Any]) -> dict[Any, dict[str, Any]]:
    """All stored documents, by `_id`."""
    return {each["_id"]: each for each in database.events.find()}


def insert(database: Database[Any]) -> None:
    """Store all documents."""
    database.events.insert_many([*(before for before, _ in DOCUMENTS), *OTHERS])


def test_documents_get_the_latest_shape(mongo: Mongo, database: Database[Any]) -> None:
    """A dry run changes nothing, and a second run has nothing to do."""
    insert(database)
    before = found(database)

    dry = migrate(mongo, is_dry_run=True)
    unchanged = found(database)
    done, again = migrate(mongo), migrate(mongo)

    assert before == unchanged
    assert expected() == found(database)
    assert [7, 7, 0] == [each.migrated for each in (dry, done, again)]
    assert (12, 4) == (done.documents, done.without_schema)


def test_a_migration_that_was_interrupted_is_run_again(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it ended."""
    monkeypatch.setattr(migration, "MAX_DOCUMENTS_PER_BATCH", 3)
    insert(database)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Migration(mongo, LATEST, subject=SUBJECT, look_up=SCHEMAS.get).run(interrupt)
    assert expected() != found(database)
    migrate(mongo)

    assert expected() == found(database)


def test_a_migration_that_was_killed_is_run_again(mongo: Mongo, database: Database[Any], settings: Settings) -> None:
    """SIGKILL while it writes."""
    database.events.insert_many([stored(offset, V2, browser=f"b{offset}") for offset in range(20_000)])
    migrated = {"agent": {"$exists": True}}
    code = f"""
from {__name__} import migrate
from streamapp.mongodb.client import Mongo
migrate(Mongo({settings.mongo_uri.get_secret_value()!r}, {settings.mongo_database!r}))
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        until(lambda: database.events.count_documents(migrated), what="a migrated document")
        process.kill()
    assert process.returncode == -signal.SIGKILL

    assert 0 < migrate(mongo).migrated < 20_000
    wrong = {
        "$or": [{"$expr": {"$ne": ["$agent", "$browser"]}}, {"locale": {"$ne": "de"}}, {"metadata.os": {"$ne": "?"}}]
    }
    assert database.events.count_documents(wrong) == 0


def test_two_migrations_at_once_change_each_document_once(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update takes effect only if the document is as it was read."""
    monkeypatch.setattr(migration, "MAX_DOCUMENTS_PER_BATCH", 2)
    insert(database)
    with ThreadPoolExecutor(4) as threads:
        done = [each.result() for each in [threads.submit(migrate, mongo) for _ in range(4)]]

    assert expected() == found(database)
    assert sum(each.migrated for each in done) == 7


def test_a_counted_field_keeps_its_value(mongo: Mongo, database: Database[Any]) -> None:
    """The event was counted without a browser, under the name that its field has now."""
    agent = field("agent", TEXT, "browser", default=None)
    writer = writer_schema(event_schema(agent), schema_id=4, version="v4")
    database.events.insert_one(stored(0, writer, agent="lynx"))
    before = found(database)

    done = Migration(mongo, latest(agent), subject=SUBJECT, look_up=lambda _: writer).run(lambda _: None)

    assert (0, 1, 0) == (done.migrated, done.documents, done.without_schema)
    assert before == found(database)


def test_documents_that_mongodb_refuses_to_change_are_counted(mongo: Mongo, database: Database[Any]) -> None:
    """The others are changed."""
    insert(database)
    only_one = {"$or": [{"tags": {"$exists": False}}, {"user_id": "user-1"}]}
    database.command("collMod", "events", validator=only_one)

    done = migrate(mongo)

    assert (1, 6) == (done.migrated, done.refused)
    assert found(database)[DOCUMENTS[1][0]["_id"]]["agent"] == "$edge"


@pytest.mark.parametrize(
    ("label", "noted", "is_same"),
    [
        ("v2", {}, True),
        ("v3", {}, False),
        ("unregistered", {}, True),
        ("v3", {(2, "v3"): V2.fingerprint}, True),
        ("v2", {(2, "v2"): "another"}, False),
        ("v2", {(2, "v2"): None}, True),
    ],
)
def test_an_id_that_the_registry_has_given_to_another_schema_is_recognised(
    label: str, noted: dict[tuple[int, str], str | None], is_same: bool
) -> None:
    """By the fingerprint that a worker has noted, else by the label."""
    assert is_same == is_schema_of(V2, label, noted)
