"""`streamapp explain`: everything that is known of one event or dead letter."""

from __future__ import annotations

import json
import os

import click

from streamapp.commands.explain_text import explanation_json, explanation_lines
from streamapp.commands.options import handle_errors, is_json, json_option, load_settings
from streamapp.commands.progress import progress
from streamapp.explain.explainer import Explainer


@click.command("explain")
@click.argument("event", metavar="ID")
@json_option
@handle_errors
def command(*, event: str, as_json: bool) -> None:
    """Explain one event or dead letter.

    ID is the _id of an event, or its coordinates TOPIC:PARTITION:OFFSET; coordinates in the dead-letter topic explain a
    dead letter.

    Shown are the document, the bytes with the field that each of them belongs to, the writer's schema and its
    differences to the latest one, what the worker added, and the rollups that count the event. For a dead letter: why
    it failed, where in its bytes, and what would mend it.

    Exit codes: 0 explained, 1 there is no such event.
    """
    settings = load_settings()
    with Explainer(settings, progress=progress) as explainer:
        explanation = explainer.explain(event)
    if is_json(as_json=as_json):
        click.echo(json.dumps(explanation_json(explanation)))
    else:
        color = False if os.environ.get("NO_COLOR") else None
        click.echo("\n".join(explanation_lines(explanation)), color=color)
