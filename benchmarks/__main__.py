"""`python -m benchmarks NAME`: run one benchmark on a local backend of its own and print a table."""

from __future__ import annotations

import argparse
import os
import sys
from types import ModuleType

from benchmarks import decode, drain, footprint, grow, insert, latency, produce, refresh, start, take
from streamapp.commands.interrupts import Interrupted, Interrupts

#: Each module has `NAME`, a docstring, `arguments(parser)` and `run(options)`.
BENCHMARKS: tuple[ModuleType, ...] = (decode, drain, insert, grow, latency, start, produce, footprint, refresh, take)


def main() -> None:
    """Parse the arguments and run one benchmark; Ctrl-C ends it and every process that it started."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="NAME")
    for benchmark in BENCHMARKS:
        command = commands.add_parser(benchmark.NAME, help=benchmark.__doc__, description=benchmark.__doc__)
        benchmark.arguments(command)
        command.set_defaults(run=benchmark.run)
    options = parser.parse_args()
    # The started processes write compiled modules, as usual.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        with Interrupts():
            options.run(options)
    except Interrupted as exc:
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
