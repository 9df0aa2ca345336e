"""Send 50 events and find them in MongoDB, with the installed commands: `streamapp up -- python round_trip.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.request import urlopen

from pymongo import MongoClient

from streamapp import net, settings

COUNT = 50
WITHIN_SECONDS = 60.0
STOP_WITHIN_SECONDS = 20.0


def main() -> None:
    """Run a worker and, once it is ready, a `send-sample`; exit with what is wrong, if anything."""
    environ = {**os.environ, "STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0"}
    port = net.choose_port()
    worker = subprocess.Popen(["streamapp", "worker", "--web-port", str(port)], env=environ, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_ready(port), worker, "a ready worker")
        subprocess.run(["streamapp", "send-sample", "--count", str(COUNT)], check=True)
        wait_for(lambda: stored() == COUNT, worker, f"{COUNT} events in MongoDB")
    finally:
        worker.terminate()
        code = worker.wait(STOP_WITHIN_SECONDS)
    if code:
        sys.exit(f"the worker's exit code is {code}")
    print(f"{COUNT} events sent and stored")


def is_ready(port: int) -> bool:
    """Ask the worker."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False


def stored() -> int:
    """Count the events in MongoDB."""
    config = settings.load()
    with MongoClient[dict[str, object]](config.mongo_uri.get_secret_value()) as client:
        return client[config.mongo_database]["events"].count_documents({})


def wait_for(fact: Callable[[], bool], worker: subprocess.Popen[bytes], what: str) -> None:
    """Return once it holds; exit where the worker has ended, or too much time has passed."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not fact():
        if worker.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"there is not {what}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
