"""The libraries that a process imports: each takes memory and time at every start."""

from __future__ import annotations

import subprocess
import sys

import pytest

HELP = """
import sys
sys.argv = ["streamapp", "--help"]
from streamapp.__main__ import main
try:
    main()
except SystemExit:
    pass
"""
FAUST = "import streamapp.worker.app"
WORKER = "from streamapp.worker.app import service; service()"
PRINT = """
import sys
files = [(name, getattr(module, "__file__", None) or "") for name, module in sys.modules.items()]
print("packages:", *{name.partition(".")[0] for name, file in files if "site-packages" in file})
"""

#: Of other projects, by what imports them.
CLICK = {"click"}
FAUST_PACKAGES = {
    *("faust", "mode", "aiokafka", "uvloop"),
    # By Faust.
    *("aiohttp", "aiohttp_cors", "intervaltree", "sortedcontainers", "terminaltables", "venusian", "yaml", "yarl"),
    # By mode.
    *("colorlog", "croniter", "dateutil", "mypy_extensions", "pytz", "six"),
    # By aiokafka.
    *("async_timeout", "cramjam", "packaging"),
    # By aiohttp.
    *("aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache"),
}
SETTINGS = {
    *("pydantic", "pydantic_core", "pydantic_settings"),
    *("annotated_types", "dotenv", "typing_extensions", "typing_inspection"),
    "certifi",
}
TRANSPORT = {"lz4", "zstandard"}
CLIENTS = {
    *("bson", "pymongo", "confluent_kafka", "fastavro", "prometheus_client"),
    *("_datasketches", "datasketches", "numpy"),
    # The registry's client.
    *("schema_registry", "httpx", "anyio", "jsonschema", "jsonschema_specifications", "referencing", "rpds", "attrs"),
}


def imported(code: str) -> set[str]:
    """Return the packages of other projects that a process has imported after the code."""
    command = [sys.executable, "-c", code + PRINT]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {*output.rpartition("packages:")[2].split()} - {"streamapp", "_streamapp_kernel"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (HELP, CLICK),
        (FAUST, CLICK | FAUST_PACKAGES | SETTINGS | TRANSPORT),
        (WORKER, CLICK | FAUST_PACKAGES | SETTINGS | TRANSPORT | CLIENTS),
    ],
    ids=["streamapp --help", "faust -A streamapp --help", "worker"],
)
def test_process_imports_only_the_libraries_that_it_needs(code: str, expected: set[str]) -> None:
    """A library that is missing here has become a dependency of another, or is imported too early."""
    always = imported("")  # by the environment, for example by a .pth file

    assert set() == imported(code) - expected - always
