"""Inject random faults, and check that nothing is lost: `python -m tests.soak --runs N --seed S`.

Each run has a seed of its own: the first S, the next S+1. The exit code is 1 if a promise was broken; the logs of such
a run are kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.faults.all import ALL
from tests.faults.backend import fault_backend
from tests.soak.run import Run, run
from tests.soak.table import line, table


def main() -> int:
    """Run as often as requested."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = options.out or Path(tempfile.mkdtemp(prefix="streamapp-soak-"))
    out.mkdir(parents=True, exist_ok=True)
    chosen = {name: ALL[name] for name in options.fault or ALL}
    runs: list[Run] = []
    stop_at = time.monotonic() + options.minutes * 60
    code = 0
    with fault_backend() as backend, (out / "runs.jsonl").open("a", encoding="utf-8") as lines:
        try:
            for seed in range(options.seed, options.seed + options.runs):
                if time.monotonic() > stop_at:
                    break
                folder = out / f"run-{seed}"
                folder.mkdir()
                done = run(backend, folder, seed=seed, pool=[*chosen.values()], is_long=options.long)
                runs.append(done)
                print(line(done), flush=True)
                print(json.dumps(asdict(done)), file=lines, flush=True)
                if done.is_good:
                    shutil.rmtree(folder)
                else:
                    _tell(done, folder, options)
        except KeyboardInterrupt:
            print("called off", file=sys.stderr)
            code = 130
    (out / "table.md").write_text(table(runs, chosen) + "\n", encoding="utf-8")
    print(f"\n{table(runs, chosen)}\n\n{out}/runs.jsonl")
    return code or int(not all(done.is_good for done in runs))


def _tell(done: Run, folder: Path, options: argparse.Namespace) -> None:
    again = [f"--fault {name}" for name in options.fault or ()] + ["--long"] * options.long
    print(
        f"the workers' logs are in {folder}; to repeat the run:\n"
        f"  python -m tests.soak --runs 1 --seed {done.seed} {' '.join(again)}",
        file=sys.stderr,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="number of runs (default 5)")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the first run; it grows by one with each run (default 1)"
    )
    parser.add_argument(
        "--minutes", type=float, default=24 * 60, help="start no run after so many minutes (default: a day)"
    )
    parser.add_argument("--long", action="store_true", help="outages of minutes, intervals as in the default settings")
    parser.add_argument(
        "--fault", action="append", choices=sorted(ALL), metavar="NAME", help="draw from these faults only"
    )
    parser.add_argument("--out", type=Path, help="folder for runs.jsonl, table.md and the logs of failed runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
