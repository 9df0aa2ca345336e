"""A page over a history that continues: dashboard and writer as processes, and the numbers the page must show."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from benchmarks.history import PARTITIONS
from benchmarks.load import Past
from benchmarks.visits import Visit
from dashboard.model.time_window import from_ms, to_ms, window
from streamapp import net
from streamapp.connections import mongodb
from streamapp.local.process import Server
from streamapp.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One history, its page and its writer."""

    past: Past
    port: int
    dashboard: Server
    writer: Server

    def start_writing(self) -> None:
        """Continue the history, second by second."""
        self.writer.launch()

    def is_behind(self) -> bool:
        """Whether events since the end of the history are not written yet."""
        self.writer.check()
        with mongodb.client(self.past.uri) as client:
            newest = client[self.past.name]["events"].find_one(sort=[("event_timestamp", -1)])
        # In a small history, an event happens every few seconds.
        return newest is None or datetime.now(UTC) - from_ms(newest["event_timestamp"]) > timedelta(seconds=30)

    def stop_writing(self) -> None:
        """Stop the writer; events and rollups agree afterwards."""
        self.writer.check()
        self.writer.stop()

    def cpu_seconds(self) -> float:
        """CPU seconds of the page's process so far."""
        times = psutil.Process(self.dashboard.pid).cpu_times()
        return times.user + times.system

    def counted(self, visit: Visit) -> int:
        """Count, one by one, the events that the page must show for a range and its filter now."""
        shown = window(visit.chosen, datetime.now(UTC), Settings().keep)
        at = {"$gte": to_ms(shown.start), "$lt": to_ms(shown.end)}
        with mongodb.client(self.past.uri) as client:
            return client[self.past.name]["events"].count_documents({"event_timestamp": at, **visit.query})


def serve(past: Past, stack: ExitStack) -> Site:
    """Start the page; the stack ends it, and the writer if it runs."""
    port = net.choose_port()
    dashboard = Server(
        name=f"the dashboard of {past.name}",
        command=[sys.executable, "-m", "streamapp", "dashboard", "--port", str(port)],
        log=past.folder / f"dashboard-{past.name}.log",
        answers=lambda: _answers(port),
        environ=past.environ,
    )
    site = Site(past=past, port=port, dashboard=dashboard, writer=past.writer("follow", range(PARTITIONS)))
    stack.callback(site.writer.stop)
    stack.callback(dashboard.stop)
    dashboard.start()
    return site


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://{net.HOST}:{port}/_stcore/health", timeout=2) as response:
            return response.status == 200  # noqa: PLR2004 - HTTP's OK
    except (URLError, OSError):
        return False
