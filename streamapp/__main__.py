"""The `streamapp` command: Faust's command line with ours added."""

from __future__ import annotations

from streamapp import app


def main() -> None:
    """Run the command line."""
    app.main()


if __name__ == "__main__":
    main()
