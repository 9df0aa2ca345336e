"""The headers of records that are stored."""

from __future__ import annotations

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.model.stored_headers import (
    MAX_FAST_HEADERS,
    MAX_HEADERS,
    MAX_VALUE_BYTES,
    header_fields,
    header_name,
    is_ordinary,
    stored_headers,
)

CLIENT = header_fields("client")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"shop", "shop"),
        (b"", ""),
        ("Zürich\0".encode(), "Zürich\0"),
        (b"\xff\0\x01", "0xff0001"),
        (b"\xed\xa0\x80", "0xeda080"),  # half of a character of UTF-16
        (b"x" * MAX_VALUE_BYTES, "x" * MAX_VALUE_BYTES),
        (b"x" * (MAX_VALUE_BYTES + 1), "x" * MAX_VALUE_BYTES + "…"),
        (b"x" * (MAX_VALUE_BYTES - 1) + "ü".encode(), "x" * (MAX_VALUE_BYTES - 1) + "…"),
        (b"x" * (MAX_VALUE_BYTES - 1) + b"\xc3", "0x" + "78" * (MAX_VALUE_BYTES // 2) + "…"),
        (b"\xff" * (MAX_VALUE_BYTES // 2), "0x" + "ff" * (MAX_VALUE_BYTES // 2)),
    ],
)
def test_values_are_short_texts(value: bytes, text: str) -> None:
    """Bytes that are no text are shown in hexadecimal, and long values are cut between two characters."""
    assert {"client": text} == stored_headers([("client", value)], CLIENT)


def test_other_headers_and_null_are_not_stored() -> None:
    """Of several headers of a name the last one counts, as with Kafka's `lastHeader`."""
    assert {} == stored_headers([("client", None), ("Client", b"x"), ("trace", b"x")], CLIENT)
    assert {"client": "b"} == stored_headers([("client", b"a"), ("client", b"b"), ("client", None)], CLIENT)


def test_fields_are_in_the_order_of_the_setting() -> None:
    """So that documents of one client are equal; a dot would be a path for MongoDB."""
    fields = header_fields("client,client.version,b")
    found = stored_headers([("b", b"1"), ("client.version", b"2"), ("client", b"3")], fields)

    assert [("client", "3"), ("client%2Eversion", "2"), ("b", "1")] == [*found.items()]
    assert [*fields] == [header_name(field) for field in found]
    assert {} == header_fields("none")


def test_only_the_first_headers_are_read() -> None:
    """A record can have hundreds of thousands of them."""
    others = [("trace", b"")] * MAX_HEADERS

    assert {} == stored_headers([*others, ("client", b"a")], CLIENT)
    assert {"client": "a"} == stored_headers([*others[1:], ("client", b"a")], CLIENT)
    assert [True, False] == [is_ordinary(others[:MAX_FAST_HEADERS]), is_ordinary(others[: MAX_FAST_HEADERS + 1])]


def test_headers_of_dead_letters_are_not_ordinary() -> None:
    """The record may be a replay."""
    assert is_ordinary([("streamapp", b""), ("trace", None)])
    assert not is_ordinary([("trace", None), ("streamapp.note", b"")])


@given(st.lists(st.tuples(st.text() | st.just("client"), st.none() | st.binary(max_size=600)), max_size=5))
def test_any_headers_fit_into_a_document(headers: list[tuple[str, bytes | None]]) -> None:
    """BSON can hold them, and they are small."""
    found = stored_headers(headers, CLIENT)

    assert found.keys() <= {"client"}
    assert len(bson.encode(found)) < MAX_VALUE_BYTES + 100
