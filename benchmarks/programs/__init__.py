"""The programs that a benchmark compares: streamapp, and others as their users write them.

Each program is a process that takes its addresses, topic, database and consumer group from the environment variables
of streamapp's settings, and stores events in the collection `events`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from benchmarks import report
from benchmarks.programs import compiled, connect
from benchmarks.programs.compiled import UnavailableError
from streamapp import net
from streamapp.settings import Settings

#: The same as in quix.py.
_QUIX_VERSION = "3.28.1"
#: Modules of goloop, crates of rustloop, first those that both ways use.
_GO = ("github.com/twmb/franz-go", "go.mongodb.org/mongo-driver/v2", "github.com/hamba/avro/v2")
_RUST = ("rdkafka", "mongodb", "apache-avro")
_SAME = "BSON by hand, `_id` and index as streamapp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One of the programs that run in turns."""

    name: str
    #: Prepares what the program needs on disk, with downloads if necessary; returns the command that runs it.
    #: Raises UnavailableError.
    command: Callable[[], Sequence[str]]
    #: Name and versions.
    made_of: Callable[[], str]
    #: Whether it reads the copy of the topic in JSON.
    reads_json: bool = False
    has_rollups: bool = False
    #: Whether its documents hold the record's timestamp and offset under `kafka`.
    tells_stamp: bool = True
    #: Number of events after which a slow program is ended; None: all events.
    enough: int | None = None
    #: Whether it uses TLS and credentials where the settings say so.
    can_log_in: bool = False


def _worker(*module: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, "-m", *module, "worker", "--web-port", str(net.choose_port())]


def _module(name: str, *arguments: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, "-m", f"benchmarks.programs.{name}", *arguments]


def _connect(*arguments: str) -> Callable[[], Sequence[str]]:
    def command() -> Sequence[str]:
        connect.jars(Settings())
        return _module("connect", *arguments)()

    return command


@cache
def _quix() -> Sequence[str]:
    if not (uv := shutil.which("uv")):
        raise UnavailableError("it runs in an environment that `uv` creates, which is not installed")
    script = str(Path(__file__).with_name("quix.py"))
    subprocess.run([uv, "sync", "--quiet", "--script", script], check=True)
    # the interpreter itself, so that uv is not measured
    found = subprocess.run([uv, "python", "find", "--script", script], check=True, capture_output=True, text=True)
    return [found.stdout.strip(), script]


def _versions(*packages: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{package} {version(package)}" for package in packages)


_OURS = _versions("faust-streaming", "aiokafka", "pymongo")
_BY_HAND = _versions("confluent-kafka", "fastavro", "pymongo")


def _connector(writing: str, tasks: int) -> Program:
    suffix = "" if tasks > 1 else "-1-task"
    return Program(
        name=f"connect-{writing}{suffix}",
        command=_connect(writing, str(tasks)),
        made_of=lambda: (
            f"MongoDB Kafka Connector {connect.CONNECTOR_VERSION}, Kafka Connect {Settings().local_kafka_version},"
            f" tasks.max={tasks}"
        ),
        reads_json=True,
        tells_stamp=False,
    )


OURS = Program(name="streamapp", command=_worker("streamapp"), made_of=_OURS, has_rollups=True, can_log_in=True)
WITHOUT_ROLLUPS = Program(
    name="without-rollups",
    command=_worker("benchmarks.without", "rollups"),
    made_of=lambda: "streamapp without rollups",
    can_log_in=True,
)
WITHOUT_METRICS = Program(
    name="without-metrics",
    command=_worker("benchmarks.without", "metrics"),
    made_of=lambda: "streamapp without metrics",
    has_rollups=True,
    can_log_in=True,
)
AS_WRITTEN = Program(
    name="as-written",
    # `env` replaces itself: the process that is measured is the worker.
    command=lambda: ["env", "STREAMAPP_CANONICAL=off", *_worker("streamapp")()],
    made_of=lambda: "streamapp with STREAMAPP_CANONICAL=off",
    has_rollups=True,
    can_log_in=True,
)
WITHOUT_KERNEL = Program(
    name="without-kernel",
    command=lambda: ["env", "STREAMAPP_COMPILED_DECODER=off", *_worker("streamapp")()],
    made_of=lambda: "streamapp with STREAMAPP_COMPILED_DECODER=off",
    has_rollups=True,
    can_log_in=True,
)
PROFILED = Program(
    name="profiled",
    command=_worker("benchmarks.profiled"),
    made_of=lambda: "streamapp with a profiler in its process",
    has_rollups=True,
    can_log_in=True,
)
LOOP = Program(name="loop", command=_module("loop"), made_of=_BY_HAND)
PROGRAMS = (
    OURS,
    WITHOUT_ROLLUPS,
    WITHOUT_METRICS,
    AS_WRITTEN,
    WITHOUT_KERNEL,
    LOOP,
    Program(name="go", command=compiled.go("driver"), made_of=lambda: compiled.go_modules(*_GO)),
    Program(
        name="go-same",
        command=compiled.go("same"),
        made_of=lambda: f"{compiled.go_modules(*_GO[:2])}, {_SAME}",
    ),
    Program(name="rust", command=compiled.rust("driver"), made_of=lambda: compiled.rust_crates(*_RUST)),
    Program(
        name="rust-same",
        command=compiled.rust("same"),
        made_of=lambda: f"{compiled.rust_crates(*_RUST[:2])}, {_SAME}",
    ),
    Program(
        name="faust", command=_module("stock_faust", "worker", "--without-web", "--loglevel", "warn"), made_of=_OURS
    ),
    Program(name="quix", command=_quix, made_of=lambda: f"Quix Streams {_QUIX_VERSION}", tells_stamp=False),
    _connector("insert", 4),
    _connector("replace", 4),
    _connector("insert", 1),
    _connector("replace", 1),
    Program(name="tutorial", command=_module("tutorial"), made_of=_BY_HAND, enough=10_000),
)


def checkout(folder: str) -> Program:
    """Return streamapp as it is in another checkout, with an environment made by `uv sync` there."""
    script = str(Path(folder, ".venv", "bin", "streamapp"))
    return Program(
        name=f"checkout-{Path(folder).name}",
        command=lambda: [script, "worker", "--web-port", str(net.choose_port())],
        made_of=lambda: f"streamapp of the checkout {folder}",
        has_rollups=True,
        can_log_in=True,
    )


def named(text: str) -> Sequence[Program]:
    """Return the programs of a comma-separated list; a name with a slash is the folder of another checkout."""
    known = {program.name: program for program in PROGRAMS}
    names = list(dict.fromkeys(text.split(",")))
    known |= {name: checkout(name) for name in names if "/" in name}
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def ready(programs: Iterable[Program]) -> Sequence[Program]:
    """Prepare each program, so that no round waits for a download; leave out those that this machine cannot run."""
    found: list[Program] = []
    for program in programs:
        try:
            program.command()
        except UnavailableError as exc:
            report.progress(f"{program.name} is left out: {exc}")
        else:
            found.append(program)
    return found or sys.exit("no program is left to run")
