"""The `streamapp` command: Faust's command line with ours added."""

from __future__ import annotations

import sys

import click


def main() -> None:
    """Run the command line."""
    try:
        from streamapp import app  # noqa: PLC0415 - its settings may be wrong, which is said in words
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    app.main()


if __name__ == "__main__":
    main()
