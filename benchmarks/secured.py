"""The option `--secure` of benchmarks: servers with TLS, users and access control lists."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from benchmarks.programs import Program


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--secure`."""
    parser.add_argument(
        "--secure",
        action="store_true",
        help="start the servers as `streamapp up --secure` does; only for streamapp and its checkouts",
    )


def check(options: argparse.Namespace, programs: Iterable[Program]) -> None:
    """Exit if a program cannot use secured servers."""
    unable = [program.name for program in programs if not program.can_log_in]
    if options.secure and unable:
        sys.exit(f"{', '.join(unable)} cannot log in to secured servers: leave them out of --programs")
