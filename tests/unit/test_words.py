"""The list of forbidden words finds what it should, and leaves the same words in other meanings alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / ".ci"


@pytest.fixture(scope="module")
def words() -> ModuleType:
    """Load `.ci/words.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("words", FOLDER / "words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(words: ModuleType, path: str, text: str) -> list[str]:
    """Return what the project's list finds in a file."""
    listed = words.rules((FOLDER / "words.txt").read_text("utf-8"))
    return [*words.problems(path, text, listed)]


@pytest.mark.parametrize(
    "text",
    [
        "Whoever calls sees to that.",
        "a topic that was made anew",
        "for a reason that\n    # nobody thought of",
        "The log hears of it once.",
        "Partitions of the topic, if it is us who make it.",
        "while Kafka is away",
        'raise StoreUnavailable("away")',
        "the ordinary way has words for it",
        "It leads where the ordinary way leads, or nowhere",
        "Slices of one partition",
        "the topic's incarnation",
        "a topic's second life",
        "LANE = PartitionId(TOPIC_ID, 0)",
        "the ledger lets an offset be committed",
        "events that are counted apart",
        "class Room:",
        "See `Accumulator.add`.",
        "frontier = 7",
        "keep_less()",
        "settings.breaker_share",
    ],
)
def test_forbidden_text_is_found(words: ModuleType, text: str) -> None:
    """A phrase or a name of the list, also across the lines of a comment."""
    assert found(words, "streamapp/sink/settle.py", text)


@pytest.mark.parametrize(
    "text",
    [
        "asked again right away; 1,000 records were compacted away",
        'metrics: streamapp_slices_total, {"$slice": -5}, islice(rows, 3), slice(2)',
        '{"incarnation": topic_id}, headers["streamapp.incarnation"], kafka.apart',
        '`_id` "partition:<incarnation>:<partition>": kind, topic, partition, incarnation, worker, {slices, bytes}',
        "send-sample --ledger FILE; 'streamapp ledger 1'",
        'st.dataframe(rows, width="stretch")',
        '@click.option("--by", type=click.Choice(NAMES))',
        "Turn a decoded event into a document. Built once. Found in the topic.",
        "there is room for more; on a quiet machine; the setting beats the environment",
        "two workers take turns; 5 seconds apart; the members of a group",
        "behind the scenes; https://example.com/troubleshooting",
        "from dashboard import formatting; words = text.split()",
        "the document is read again",
    ],
)
def test_other_meanings_are_left_alone(words: ModuleType, text: str) -> None:
    """Words with other uses, and names that others depend on."""
    assert [] == found(words, "streamapp/sink/settle.py", text)


def test_name_of_a_file_is_found(words: ModuleType) -> None:
    """A module under a forbidden name is found although it is empty; one elsewhere is not."""
    assert found(words, "streamapp/decode/short_way.py", "")
    assert found(words, "streamapp/sink/room.py", "")
    assert [] == found(words, "benchmarks/history.py", "")


def test_section_of_a_folder_holds_there_only(words: ModuleType) -> None:
    """`Choice` is forbidden for dead letters and means something else on the page."""
    assert found(words, "streamapp/dlq/index.py", "class Choice:")
    assert [] == found(words, "dashboard/views/controls.py", "class Choice:")


def test_problem_names_line_and_replacement(words: ModuleType) -> None:
    """What is printed says where to look and what to write."""
    (problem,) = found(words, "docs/index.md", "first\nwhoever\n")

    assert problem.startswith("docs/index.md:2: 'whoever'; use: ")


@pytest.mark.parametrize("text", ["word => other", "[phrases]\nword without an arrow", "[elsewhere]\nword => other"])
def test_line_that_is_no_rule_is_refused(words: ModuleType, text: str) -> None:
    """A list that is not understood does not pass for an empty one."""
    with pytest.raises(ValueError, match="no rule"):
        words.rules(text)
