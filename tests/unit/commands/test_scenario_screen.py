"""The narration of a scenario: what is said, and what is shown at the end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamapp.commands.scenario_screen import Screen
from streamapp.scenarios import scenario_file
from streamapp.scenarios.final_check import FinalResult
from streamapp.scenarios.player import StepResult
from streamapp.verify.checks.result import Problem

SCENARIO = scenario_file.load("breaking-change")
STEP = SCENARIO.steps[2]
FATES = {("v2", "v2"): 30, ("required-field", "neither stored nor dead-lettered"): 10}


def result(uncommitted: int = 0, *problems: Problem) -> FinalResult:
    """Return the result of a verification."""
    return FinalResult(
        records=1_000, stored=990, dead_lettered=10, rollups=8, uncommitted=uncommitted, problems=problems
    )


def printed(*, is_terminal: bool, problems: list[str], verified: FinalResult) -> str:
    """Return what is printed of one step and the verdict."""
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100, highlight=False, color_system=None)
    screen = Screen(console, SCENARIO)
    with screen.step(STEP):
        screen.counted(40, FATES)
    screen.end(StepResult(title=STEP.title, registered="it is v1", sent=40, fates=FATES, problems=problems))
    screen.verdict(verified, is_good=verified.is_good and not problems)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_step_is_narrated(is_terminal: bool) -> None:
    """What is done, where to look, what should be seen, and what became of the events."""
    text = printed(is_terminal=is_terminal, problems=[], verified=result())

    assert "Step 1 of 4: Forced under another subject" in text
    assert f"Look at: {STEP.look}" in text
    assert "You should see: " in text
    assert "it is v1" in text
    assert "v2                v2         30        75%" in text
    assert "✓ As announced." in text
    assert "1,000 records of the topic: 990 stored, 10 dead letters; 8 rollups compared." in text
    assert "everything that was announced came true" in text
    assert ("40 events sent" in text) == is_terminal


def test_a_false_announcement_is_shown() -> None:
    """Brackets in it are no markup."""
    text = printed(is_terminal=False, problems=["10 events [red] are lost"], verified=result())

    assert "✗ 10 events [red] are lost" in text
    assert "As announced" not in text
    assert "not everything that was announced came true" in text


def test_problems_of_the_verification_are_shown() -> None:
    """With those records that the workers have not committed."""
    text = printed(is_terminal=False, problems=[], verified=result(3, Problem("missing", 1, "7")))

    assert "✗ 3 records of the scenario are not committed." in text
    assert "✗ missing: partition 1, offset 7" in text
    assert "came true" not in text
