"""Draw events per second of each program as bars into an SVG file; needs the dependency group `benchmarks`."""

from __future__ import annotations

import statistics
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import Rounds

_OURS, _OTHERS = "#1b7f5c", "#9aa5b1"


def require() -> None:
    """End with a message that says what to install, unless matplotlib is installed."""
    if not find_spec("matplotlib"):
        sys.exit("--plot needs matplotlib: uv run --group benchmarks python -m benchmarks …")


def draw(path: Path, rounds: Rounds, *, ours: str, title: str) -> None:
    """Draw a bar per program, the fastest on top: the median, with the range as a line."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who asks for a chart has it

    speeds = {program: [each.events_per_second for each in of_program] for program, of_program in rounds.items()}
    names = sorted(speeds, key=lambda program: statistics.median(speeds[program]))
    medians = [statistics.median(speeds[name]) for name in names]
    below = [median - min(speeds[name]) for name, median in zip(names, medians, strict=True)]
    above = [max(speeds[name]) - median for name, median in zip(names, medians, strict=True)]
    figure = Figure(figsize=(8, 0.8 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    colours = [_OURS if name == ours else _OTHERS for name in names]
    bars = axes.barh(names, medians, xerr=(below, above), color=colours, ecolor="#333333", capsize=3)
    axes.bar_label(bars, labels=[f"{median:,.0f}" for median in medians], padding=4, fontsize=9)
    axes.set(title=title, xlabel="events/s, median and range")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.savefig(path, format="svg", metadata={"Date": None})
