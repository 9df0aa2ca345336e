"""A label stands for one value, whatever text the value has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.model import labels
from streamapp.rollups.keys import ABSENT, NULL, OTHER, key_of

SYNTHETIC = ["not given", "n/a (v1)", "all others", "not counted"]
texts = st.one_of(
    st.text(max_size=120), st.sampled_from([*SYNTHETIC, *(f'"{each}"' for each in SYNTHETIC), "", '"', "%null"])
)


def of_text(text: str) -> str:
    """Return the label of a value."""
    return labels.of_key(key_of(text))


@given(texts, texts)
def test_different_values_have_different_labels(one: str, other: str) -> None:
    """Different, that is, in the characters by which they are counted; no value has the label of null or of others."""
    assert (of_text(one) == of_text(other)) == (key_of(one) == key_of(other))
    assert of_text(one) not in SYNTHETIC


@given(st.text(max_size=100))
def test_a_label_tells_the_text_of_its_value(text: str) -> None:
    """So that events with this value can be found."""
    assert labels.text_of(of_text(text)) == text


@pytest.mark.parametrize("label", [*SYNTHETIC, '"', '"x', '"1', '"[1]', '1"'])
def test_other_labels_have_no_text(label: str) -> None:
    """An address can hold any label."""
    assert labels.text_of(label) == (label if label == '1"' else None)


def test_values_with_the_text_of_a_label_are_in_quotes() -> None:
    """As are the empty text and texts with space at an end."""
    shown = [labels.value(text) for text in ("not given", "", " ", '"', "a b", "Ω", None)]

    assert ['"not given"', '""', '" "', '"\\""', "a b", "Ω", "not given"] == shown


def test_keys_that_stand_for_no_value_have_labels() -> None:
    """A value with the same text has another key."""
    assert ["not given", "all others", "not counted"] == [labels.of_key(key) for key in (NULL, OTHER, ABSENT)]
    assert ["%null", "%other"] == [of_text(key) for key in (NULL, OTHER)]


def test_offered_labels_are_the_most_frequent_ones() -> None:
    """And those that are selected; in the order of the alphabet."""
    counts = {f"t{n:03}": n for n in range(300)} | {"all others": 999}

    offered = labels.offered(counts, ["t001"])

    assert ["t001", *(f"t{n}" for n in range(100, 300))] == [*offered]


@pytest.mark.parametrize("name", ["v0", "v01", "v1\n", "v１", "V1", "", None, "v9999999999"])
def test_a_version_without_a_number_is_unregistered(name: str | None) -> None:
    """Only streamapp's own names are versions."""
    assert labels.version(name) == "unregistered"
