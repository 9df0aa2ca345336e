"""Scenario files are read, and a malformed one gets an error with line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.scenarios import scenario_file
from streamapp.scenarios.scenario_file import UnusableScenario
from streamapp.scenarios.toml_lines import line_of

GOOD = """title = "T"
summary = "S"

[schemas.v3]
base = "v2"
add = ['{"name": "language", "type": ["null", "string"], "default": null}']
values = { language = ["de"] }

[[steps]]
title = "one"
say = "a"
look = "b"
see = "c"
send = { events = 10, seconds = 1, mix = { v1 = 1.0 } }

[[steps]]
title = "two"
say = "a"
look = "b"
see = "c"
register = "v3"
[steps.send]
events = 10
seconds = 1
mix = { v2 = 0.5, v3 = 0.5 }
[steps.expect]
fields = { v3 = ["language"] }
"""


def refusal(old: str, new: str) -> str:
    """Return the error of the good file with a change."""
    assert old in GOOD
    with pytest.raises(UnusableScenario) as caught:
        scenario_file.parse(GOOD.replace(old, new), name="lesson.toml")
    return str(caught.value)


@pytest.mark.parametrize("name", scenario_file.lessons())
def test_each_lesson_is_usable(name: str) -> None:
    """Its schemas can be made, and its events written."""
    scenario = scenario_file.load(name)

    assert scenario.events > 0
    assert all(step.look and step.see for step in scenario.steps)


def test_the_lessons_of_the_documentation_exist() -> None:
    """The names are a contract."""
    assert {
        "rolling-upgrade",
        "rollback",
        "surprise-v3",
        "nested-v4",
        "rename",
        "breaking-change",
        "late-and-duplicated",
    } == {*scenario_file.lessons()}


def test_the_template_is_usable() -> None:
    """`scenario new` writes it."""
    assert 2 == len(scenario_file.parse(scenario_file.template(), name="new.toml").steps)


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    """A name that ends in .toml is a path."""
    (tmp_path / "lesson.toml").write_text(GOOD)

    scenario = scenario_file.load(str(tmp_path / "lesson.toml"))

    assert 20 == scenario.events
    assert [("v3", None)] == scenario.registrations()


def test_a_name_that_does_not_exist_is_answered_with_those_that_do() -> None:
    """So that a typing error is found."""
    with pytest.raises(UnusableScenario, match=r"no scenario 'rollbac'\. Scenarios: .*rollback.*, or a file \.toml"):
        scenario_file.load("rollbac")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """Missing, or no text."""
    with pytest.raises(UnusableScenario, match=r"none\.toml cannot be read: No such file"):
        scenario_file.load(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UnusableScenario, match="not text in UTF-8"):
        scenario_file.load(str(tmp_path / "binary.toml"))


def test_a_syntax_error_has_line_and_column() -> None:
    """As Python's parser says it."""
    assert "lesson.toml is not TOML: " in refusal('title = "one"', "title = one")
    assert "line 10" in refusal('title = "one"', "title = one")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('summary = "S"\n', "", "summary: is missing"),
        ('title = "two"\n', "", "line 16, step 2: title: is missing"),
        (
            "events = 10\nseconds",
            "events = 0\nseconds",
            "line 23, step 2: send.events: should be greater than or equal to 1, not 0",
        ),
        ("events = 10\nseconds", "event = 10\nseconds", "line 23, step 2: send.event: is unknown here"),
        ("events = 10\nseconds", 'events = "ten"\nseconds', "line 23, step 2: send.events: should be a valid integer"),
        ("v1 = 1.0", "v1 = 0.5", "line 14, step 1: send.mix: the fractions add up to 0.5, not to 1"),
        ("v1 = 1.0", "v9 = 1.0", "line 14, step 1: send.mix: 'v9' is not a schema: v1, v2, v3"),
        ("v1 = 1.0", "v3 = 1.0", "line 14, step 1: send.mix: 'v3' is not registered by this step or an earlier one"),
        ('register = "v3"\n', 'register = "v4"\n', "line 21, step 2: register: 'v4' is not a schema of [schemas]: v3"),
        ('register = "v3"\n', 'register = "v2"\n', "line 21, step 2: register: v2 is registered before the first step"),
        ('register = "v3"\n', "refused = true\n", "line 21, step 2: refused: needs `register`"),
        ('register = "v3"\n', 'under = "x"\n', "line 21, step 2: under: needs `register`"),
        ("[schemas.v3]", "[schemas.v2]", "line 4, schemas.v2: is a schema of this repository"),
        ('base = "v2"', 'base = "v7"', "line 5, schemas.v3.base: 'v7' is not a schema above it: v1, v2"),
        (
            'base = "v2"',
            'base = "v2"\nremove = ["nothing"]',
            "line 6, schemas.v3.remove: the base has no field 'nothing'",
        ),
        ('"default": null}\'', '"default": null\'', "line 6, schemas.v3.add: it is not JSON"),
        ('"default": null}', '"default": 7}', "line 4, schemas.v3: is not a usable schema"),
        (
            '["null", "string"], "default": null}\']\nvalues = { language = ["de"] }',
            '"string"}\']',
            "give the new fields [schemas.v3.values]",
        ),
        (
            "send = { events = 10, seconds = 1, mix = { v1 = 1.0 } }",
            "",
            "line 9, step 1: has neither `register` nor `send`",
        ),
        (
            "{ v1 = 1.0 } }",
            "{ v1 = 1.0 }, faults = { late = 0.7, duplicate = 0.7 } }",
            "send.faults: the fractions add up to 1.4",
        ),
        (
            "{ v1 = 1.0 } }",
            "{ v1 = 1.0 }, faults = { foreign-schema = 0.1 } }",
            "foreign-schema registers a schema of its own",
        ),
        (
            "{ v1 = 1.0 } }",
            '{ v1 = 1.0 }, headers = { v2 = { client = "web" } } }',
            "line 14, step 1: send.headers: the step sends no events of 'v2'",
        ),
        ("{ v1 = 1.0 } }", '{ v1 = 1.0 }, headers = { v1 = { "ü" = "" } } }', "step 1: send.headers.v1.ü"),
        ("{ v1 = 1.0 } }", "{ v1 = 1.0 }, headers = { v1 = { client = 7 } } }", "step 1: send.headers.v1.client"),
        ("{ v1 = 1.0 } }", "{ v1 = 1.0 }, headers = { v1 = { client = [] } } }", "step 1: send.headers.v1.client"),
        ("{ v1 = 1.0 } }", "{ v1 = 1.0 }, faults = { loud = 0.1 } }", "line 14, step 1: send.faults.loud"),
        (
            'fields = { v3 = ["language"] }',
            'fields = { v1 = ["x"] }',
            "line 27, step 2: expect.fields: the step sends no events of 'v1'",
        ),
        ('fields = { v3 = ["language"] }', 'fate = { v3 = "gone" }', "line 27, step 2: expect.fate.v3"),
        ("events = 10\nseconds", "events = 100000\nseconds", "steps: send 100010 events; at most 100000 are possible"),
    ],
)
def test_an_error_has_line_and_key(old: str, new: str, error: str) -> None:
    """And says what is wrong."""
    assert error in refusal(old, new)


def test_a_scenario_without_schemas_has_none_to_register() -> None:
    """The error says so."""
    text = GOOD[: GOOD.index("[schemas")] + GOOD[GOOD.index("[[steps]]") : GOOD.index("[steps.send]")]
    with pytest.raises(UnusableScenario, match="'v3' is not a schema of \\[schemas\\]: none"):
        scenario_file.parse(text, name="lesson.toml")


def test_the_line_of_a_nested_array_of_tables() -> None:
    """Each header counts for the table above it; a path that is nowhere has no line."""
    text = '[[a]]\n[[a.b]]\n[[a.b]]\nx = 1\n"quoted key" = 1\n[[a]]\n[[a.b]]\ny.z = 1\n'

    assert 4 == line_of(text, ["a", 0, "b", 1, "x"])
    assert 5 == line_of(text, ["a", 0, "b", 1, "quoted key"])
    assert 8 == line_of(text, ["a", 1, "b", 0, "y", "z"])
    assert 6 == line_of(text, ["a", 1, "c"])
    assert line_of(text, ["q"]) is None
