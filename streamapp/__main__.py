"""The `streamapp` command: Faust's command line with ours added."""

from __future__ import annotations

import sys

INTERRUPTED = 130  # as a shell tells of Ctrl-C


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also in the seconds in which it imports."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run() -> None:
    import click  # noqa: PLC0415 - Ctrl-C may come meanwhile

    try:
        from streamapp import app  # noqa: PLC0415 - as above; and its settings may be wrong, which is said in words
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    try:
        app.main()
    except SystemExit as exc:
        if isinstance(exc.__context__, click.Abort):  # click has caught the Ctrl-C, and would exit with 1
            sys.exit(INTERRUPTED)
        raise


if __name__ == "__main__":
    main()
