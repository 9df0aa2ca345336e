"""The top level of the command line: its help, without importing Faust, and the same help on Faust's command line."""

from __future__ import annotations

from types import MethodType

import click

from streamapp.commands import COMMANDS, GROUPS, WORKER, LazyCommand

WELCOME = """Store user events from Kafka in MongoDB, and show them on a dashboard.

`streamapp demo` runs everything on this machine.

Settings are environment variables (STREAMAPP_…) or lines of the file .env.
`streamapp doctor` checks them.
"""
WORKER_HELP = """Start a worker: it stores the events of the topic in MongoDB.

It runs until Ctrl-C or SIGTERM. The web port serves /healthz, /readyz and /metrics.
"""
#: Commands of Faust that are listed. The others are hidden: they work on tables, models and LiveCheck, which this app
#: does not use.
FAUST_COMMANDS = {
    "agents": "List the agents of the worker.",
    "completion": "Print the code that completes commands in a shell.",
    "send": "Send a message to an agent or a topic.",
}


class _Root(click.Group):
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_help(self, ctx, formatter)


def new_root(version: str) -> click.Group:
    """Return the command that prints help and version; Faust's command line runs the commands."""
    options = [
        click.Option(["-l", "--loglevel"], metavar="LEVEL", help="crit, error, warn, info or debug.  [default: warn]"),
        click.Option(["-f", "--logfile"], metavar="FILE", help="Write the log to this file.  [default: stderr]"),
        click.Option(["--json"], is_flag=True, help="Report as JSON."),
    ]
    root = _Root("streamapp", help=WELCOME, params=[*options])
    return click.version_option(version, prog_name="streamapp", message="%(prog)s %(version)s")(root)


def extend(faust: click.Group) -> None:
    """Add the commands to Faust's command line, with the same help; hide Faust's commands that are of no use here."""
    for name, each in faust.commands.items():
        each.hidden = name not in {WORKER, *FAUST_COMMANDS}
    for name in COMMANDS:
        faust.add_command(LazyCommand(name))
    faust.help = WELCOME
    faust.commands[WORKER].help = WORKER_HELP
    faust.format_options = MethodType(_write_help, faust)


def _write_help(group: click.Group, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the commands by group, then the options; click would begin with the options."""
    # One width for all groups, so that they are aligned.
    width = max(map(len, (*COMMANDS, *FAUST_COMMANDS)))
    for title, commands in {**GROUPS, "Faust": FAUST_COMMANDS}.items():
        with formatter.section(title):
            formatter.write_dl([(f"{name:<{width}}", text) for name, text in commands.items()])
    click.Command.format_options(group, context, formatter)
