"""The `streamapp` command: Faust's command line with ours added."""

from __future__ import annotations

import sys

from streamapp.errors import INTERRUPTED


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also in the seconds in which it imports."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    import click  # noqa: PLC0415 - Ctrl-C may come meanwhile

    from streamapp import commands  # noqa: PLC0415 - as above

    name = sys.argv[1] if sys.argv[1:] else ""
    try:
        if name in commands.COMMANDS:  # without the app: Faust takes longer to import than most of them take to run
            commands.load(name).main(sys.argv[2:], prog_name=f"streamapp {name}")
        else:
            _run_app()
    except SystemExit as exc:
        if isinstance(exc.__context__, click.Abort):  # click has caught the Ctrl-C, and would exit with 1
            sys.exit(INTERRUPTED)
        raise


def _run_app() -> None:
    import click  # noqa: PLC0415 - as above

    try:
        from streamapp import app  # noqa: PLC0415 - as above; and its settings may be wrong, which is said in words
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    app.main()


if __name__ == "__main__":
    main()
