"""Whether a document that has the `_id` of another one is the same event, and the `_id` it gets if it is not."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import DatetimeMS

from streamapp.decode.document import LazyDocument, row_of
from streamapp.decode.identity import FIELDS, has_id_of_its_own, is_another_event, with_id_of_its_own
from tests.support.factories import NOW, TOPIC_ID, an_event


def a_document(**changes: Any) -> dict[str, Any]:
    """Return a stored event with changes."""
    kafka = {"topic": "user_events", "partition": 3, "offset": 42, "timestamp": DatetimeMS(NOW)}
    return {"_id": f"{TOPIC_ID}-3-42", **an_event(), "schema_version": "v1", "kafka": kafka, **changes}


def without(name: str) -> dict[str, Any]:
    """Return a stored event that lacks a field."""
    return {field: value for field, value in a_document().items() if field != name}


COUNTED = {"offset": 42, "timestamp": DatetimeMS(NOW), "apart": True}
NO_TIMESTAMP = {"topic": "user_events", "partition": 3, "offset": 42, "timestamp": None}


@pytest.mark.parametrize(
    ("document", "end"),
    [
        (a_document(), f"{NOW}-4d27c0a2"),
        (a_document(kafka=NO_TIMESTAMP), "None-6dd88b0b"),
        ({**without("metadata"), "kafka": NO_TIMESTAMP}, "None-5e362439"),
    ],
    ids=["all fields", "no timestamp", "no metadata"],
)
def test_the_checksum_of_an_event_is_the_same_in_every_release(document: dict[str, Any], end: str) -> None:
    """Else the event would be stored again at a redelivery, under another `_id`."""
    assert f"{TOPIC_ID}-3-42-{end}" == with_id_of_its_own(document)["_id"]


def test_a_document_in_bson_gets_the_same_id() -> None:
    """The fast path makes documents in BSON."""
    lazy = LazyDocument(bson.encode(a_document()), *row_of(a_document()))

    assert with_id_of_its_own(a_document())["_id"] == with_id_of_its_own(lazy)["_id"]
    assert not is_another_event(lazy, a_document())


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "another"},
        {"event_type": "another"},
        {"event_timestamp": NOW + 1},
        {"metadata": {"device": "tv", "location": "DE"}},
        {"metadata": {"device": "mobile", "location": "FR"}},
        {"kafka": {"timestamp": DatetimeMS(NOW + 1)}},
    ],
    ids=str,
)
def test_a_document_that_differs_in_one_of_the_fields_is_another_event(changes: dict[str, Any]) -> None:
    """The required fields of an event, and the Kafka timestamp; these are read of a stored document."""
    assert is_another_event(a_document(), a_document(**changes))
    path = next(iter(changes))
    assert any(field.split(".")[0] == path for field in FIELDS)


@pytest.mark.parametrize("changes", [{"browser": "opera"}, {"schema_version": "v2"}, {"kafka": COUNTED}])
def test_other_fields_do_not_tell_events_apart(changes: dict[str, Any]) -> None:
    """A redelivery can have another schema version, and other programs can change documents."""
    assert not is_another_event(a_document(), a_document(**changes))


@pytest.mark.parametrize(
    "stored", [without("user_id"), without("metadata"), without("kafka"), a_document(metadata="x")]
)
def test_a_document_that_lacks_a_field_is_taken_for_the_same_event(stored: dict[str, Any]) -> None:
    """Another program has removed the field."""
    assert not is_another_event(a_document(), stored)


def test_an_id_of_its_own_is_recognised_by_what_the_document_holds() -> None:
    """Another program may store anything under any `_id`."""
    usual_id = a_document()["_id"]
    own = with_id_of_its_own(a_document())

    assert has_id_of_its_own(own, usual_id)
    assert not has_id_of_its_own({**own, "user_id": "another"}, usual_id)
    assert not has_id_of_its_own({**own, "metadata": 7}, usual_id)
    assert not has_id_of_its_own(a_document(), usual_id)
