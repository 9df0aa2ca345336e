"""`streamapp scenario list`, `new` and `run`: lessons about schema evolution over a running pipeline."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from streamapp.commands.options import handle_errors, is_json, json_option, load_settings
from streamapp.commands.scenario_screen import Screen
from streamapp.connections import mongodb
from streamapp.connections.registry import RegistryConnection
from streamapp.dlq.letter_text import columns
from streamapp.errors import SettingsError
from streamapp.mongodb.client import Mongo
from streamapp.scenarios import scenario_file
from streamapp.scenarios.player import Player, StepResult
from streamapp.scenarios.scenario import Scenario
from streamapp.scenarios.scenario_file import UnusableScenario
from streamapp.settings import Settings

_UNUSABLE = 2


@contextmanager
def _unusable_input() -> Generator[None]:
    try:
        yield
    except UnusableScenario as exc:
        error = click.ClickException(str(exc))
        error.exit_code = _UNUSABLE
        raise error from None


def check_name(name: str) -> None:
    """Exit with 2 if a scenario cannot be used."""
    with _unusable_input():
        scenario_file.load(name)


@click.group("scenario")
def command() -> None:
    """Play lessons about schema evolution over a running pipeline."""


@click.command("list")
@json_option
def list_scenarios(*, as_json: bool) -> None:
    """List the scenarios of streamapp."""
    with _unusable_input():
        found = {name: scenario_file.load(name) for name in scenario_file.lessons()}
    if is_json(as_json=as_json):
        rows = [{"name": name, "title": one.title, "summary": one.summary} for name, one in found.items()]
        click.echo(json.dumps({"scenarios": rows}))
    else:
        click.echo("\n".join(columns([(name, one.title) for name, one in found.items()])))


@click.command("new")
@click.argument("file", metavar="FILE.toml", type=click.Path(dir_okay=False, path_type=Path))
@handle_errors
def new(*, file: Path) -> None:
    """Write a commented scenario to FILE.toml, to be changed; an existing file is not overwritten."""
    if file.suffix != ".toml":
        raise click.BadParameter(f"{file} must end in .toml", param_hint="FILE.toml")
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(scenario_file.template())
    except FileExistsError:
        raise click.ClickException(f"{file} exists; give another name") from None
    except OSError as exc:
        raise click.ClickException(f"{file} cannot be written: {exc.strerror}") from None
    click.echo(f"{file} is written. Play it with: streamapp scenario run {file}")


@click.command("run")
@click.argument("name", metavar="NAME")
@click.option(
    "--speed",
    type=click.FloatRange(min=0.1, max=1_000),
    default=1.0,
    show_default=True,
    help="Play so many times as fast.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Repeat values and order of the events.")
@click.option("--yes", is_flag=True, help="Register the schemas and send the events without asking.")
@json_option
@handle_errors
def run(*, name: str, speed: float, seed: int, yes: bool, as_json: bool) -> None:
    """Play a scenario over a running pipeline, and verify it.

    NAME is one of `streamapp scenario list`, or a file that ends in .toml. A worker must be running. Schemas and events
    of the scenario stay in the registry, in Kafka and in MongoDB: use a pipeline for tests.
    STREAMAPP_REGISTER_SCHEMAS=false forbids scenarios that register schemas.

    Exit codes: 0 everything that was announced came true, and nothing is lost or double; 1 not so; 2 unusable input.
    """
    with _unusable_input():
        scenario = scenario_file.load(name)
    settings, as_json = load_settings(), is_json(as_json=as_json)
    _refuse_registration(scenario, settings)
    mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
    try:
        player = Player(settings, scenario, seed=seed, mongo=mongo)
        _confirm(player, scenario, settings, yes=yes)
        screen = Screen(Console(stderr=as_json, highlight=False), scenario)
        facts = _play(player, scenario, screen, speed)
    finally:
        mongo.close()
    if as_json:
        click.echo(json.dumps({"scenario": name, **facts}))
    sys.exit(0 if facts["verified"] else 1)


def _refuse_registration(scenario: Scenario, settings: Settings) -> None:
    names = list(dict.fromkeys(step.register_ for step in scenario.steps if step.register_))
    if names and not settings.register_schemas:
        raise SettingsError(
            f"STREAMAPP_REGISTER_SCHEMAS is false, and this scenario registers {', '.join(names)}. Play it in a"
            " pipeline for tests; there, set STREAMAPP_REGISTER_SCHEMAS=true"
        )


def _confirm(player: Player, scenario: Scenario, settings: Settings, *, yes: bool) -> None:
    subjects: dict[str, list[str]] = {}
    for name, subject in player.missing():
        subjects.setdefault(subject, []).append(name)
    registered = " and ".join(f"{', '.join(names)} under {subject}" for subject, names in subjects.items())
    click.echo(
        f"This scenario registers {registered or 'no schemas'} at {RegistryConnection.of(settings).url}, and sends"
        f" {scenario.events:,} sample events to {settings.topic} at {settings.kafka_bootstrap_servers}. Schemas and"
        " events stay there.",
        err=True,
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nothing was done. Give --yes if that is intended.")
    click.confirm("Continue?", abort=True, err=True)


def _play(player: Player, scenario: Scenario, screen: Screen, speed: float) -> Mapping[str, Any]:
    player.prepare()
    results: list[StepResult] = []
    for step in scenario.steps:
        with screen.step(step):
            result = player.play(step, speed, screen)
        screen.end(result)
        results.append(result)
        if result.is_last:
            break
        time.sleep(step.pause_seconds / speed)
    verified = player.verify()
    is_good = verified.is_good and not any(result.problems for result in results)
    screen.verdict(verified, is_good=is_good)
    return {
        "verified": is_good,
        "steps": [_step_json(result) for result in results],
        "records": verified.records,
        "stored": verified.stored,
        "dead_lettered": verified.dead_lettered,
        "uncommitted": verified.uncommitted,
        "problems": [str(each) for each in verified.problems],
    }


def _step_json(result: StepResult) -> Mapping[str, Any]:
    return {
        "title": result.title,
        "registered": result.registered or None,
        "sent": result.sent,
        "fates": [{"schema": schema, "fate": fate, "events": n} for (schema, fate), n in sorted(result.fates.items())],
        "problems": result.problems,
    }


for each in (list_scenarios, new, run):
    command.add_command(each)
