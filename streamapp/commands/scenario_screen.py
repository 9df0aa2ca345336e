"""The narration of a scenario in the terminal: what is done, what to look at, and what became of the events, live."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamapp.scenarios.final_check import FinalResult
from streamapp.scenarios.outcome import LOST
from streamapp.scenarios.player import StepResult
from streamapp.scenarios.scenario import Scenario, Step

_MAX_LISTED = 20


class Screen:
    """Shows a scenario on a console; live if it is a terminal."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console = console
        self._steps = len(scenario.steps)
        self._number = 0
        self._wanted = 0
        self._live: Live | None = None
        console.print(f"\n[bold]{escape(scenario.title)}[/bold]\n{escape(scenario.summary)}")

    @contextmanager
    def step(self, step: Step) -> Generator[None]:
        """Narrate a step; show its progress in the block."""
        self._number += 1
        self._wanted = step.send.events if step.send else 0
        console = self._console
        console.print()
        console.rule(f"Step {self._number} of {self._steps}: {escape(step.title)}", align="left")
        console.print(escape(step.say))
        console.print(f"[cyan]Look at:[/cyan] {escape(step.look)}")
        console.print(f"[cyan]You should see:[/cyan] {escape(step.see)}")
        if not console.is_terminal:
            yield
            return
        with Live(console=console, transient=True, refresh_per_second=8) as self._live:
            yield
        self._live = None

    def counted(self, sent: int, fates: Mapping[tuple[str, str], int]) -> None:
        """Show how many events of the step are sent, and what became of them."""
        if self._live:
            bar = ProgressBar(total=max(self._wanted, sent), completed=sent, width=40)
            self._live.update(Group(bar, Text(f"{sent} events sent"), _table(fates)))

    def end(self, result: StepResult) -> None:
        """Show what a step did, and what is not as announced."""
        console = self._console
        if result.registered:
            console.print(f"  {escape(result.registered)}")
        if result.sent:
            console.print(_table(result.fates))
        for problem in result.problems:
            console.print(f"[red]✗[/red] {escape(problem)}")
        if not result.problems:
            console.print("[green]✓[/green] As announced.")

    def verdict(self, verified: FinalResult, *, is_good: bool) -> None:
        """Show the result of the verification."""
        console = self._console
        console.print()
        console.rule("Verification", align="left")
        console.print(
            f"{verified.records:,} records of the topic: {verified.stored:,} stored, {verified.dead_lettered:,} dead"
            f" letters; {verified.rollups:,} rollups compared."
        )
        if verified.uncommitted:
            console.print(f"[red]✗[/red] {verified.uncommitted} records of the scenario are not committed.")
        for problem in verified.problems[:_MAX_LISTED]:
            console.print(f"[red]✗[/red] {escape(str(problem))}")
        if is_good:
            console.print("[green]✓[/green] Nothing is lost or double, and everything that was announced came true.")
        elif verified.is_good:
            console.print("[red]✗[/red] Nothing is lost or double, but not everything that was announced came true.")
        else:
            console.print("[red]✗[/red] The verification found problems; `streamapp verify` lists them.")


def _table(fates: Mapping[tuple[str, str], int]) -> Table:
    table = Table("schema", "became", "events", "share", box=None, padding=(0, 2), header_style="dim")
    total = sum(fates.values())
    for (schema, fate), n in sorted(fates.items()):
        shown = "waiting" if fate == LOST else fate
        table.add_row(schema, shown, f"{n:,}", f"{n / total:.0%}")
    return table
