"""The `streamapp` command: Faust's command line, with the commands of streamapp."""

from __future__ import annotations

import os
import signal
import sys

from streamapp.errors import INTERRUPTED

#: The process id of the first process of a container.
FIRST = 1
WINDOWS = """\
streamapp runs on Linux and macOS. On Windows, run it in WSL2: install Ubuntu with `wsl --install`, and run the same
commands there, with the project in the home folder of Ubuntu."""


def main(platform: str = sys.platform) -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also during the imports."""
    if platform == "win32":
        sys.exit(WINDOWS)
    try:
        _accept_signals()
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _accept_signals() -> None:
    """Let signals end this process from now on, also as the first process of a container.

    The kernel discards a signal for the first process that has no handler for it. The image starts this process with
    SIGTERM and SIGINT blocked, so that they wait for the handler: see the Dockerfile.
    """
    if os.getpid() == FIRST:
        signal.signal(signal.SIGTERM, _terminate)  # the worker replaces it when it has something to stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def _terminate(signum: int, _: object) -> None:
    # What the default action does to any other process.
    os._exit(128 + signum)


def _run() -> None:
    import click  # noqa: PLC0415 - Ctrl-C may come during the import

    from streamapp import commands  # noqa: PLC0415 - as above

    name = sys.argv[1] if sys.argv[1:] else ""
    try:
        # The import of Faust takes longer than most commands take to run: it is left out where it is not needed.
        if name in commands.COMMANDS:
            commands.load(name).main(sys.argv[2:], prog_name=f"streamapp {name}")
        elif {*sys.argv[1:]} <= {"--help", "--version"}:
            _run_root()
        else:
            _run_app()
    except SystemExit as exc:
        if isinstance(exc.__context__, click.Abort):  # click has caught the Ctrl-C, and would exit with 1
            sys.exit(INTERRUPTED)
        raise


def _run_root() -> None:
    from streamapp import __version__  # noqa: PLC0415 - as above
    from streamapp.commands import root  # noqa: PLC0415 - as above

    root.new_root(__version__).main(prog_name="streamapp")


def _run_app() -> None:
    import click  # noqa: PLC0415 - as above

    try:
        from streamapp import app  # noqa: PLC0415 - as above; it reads the settings, which may be wrong
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    app.main()


if __name__ == "__main__":
    main()
