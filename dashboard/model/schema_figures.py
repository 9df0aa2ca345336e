"""Make the chart of the versions' shares; pure, and cached as the others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dashboard.model import formatting, volume_chart
from dashboard.model.figures import Chart
from dashboard.model.schema_versions import shares
from dashboard.model.volume_chart import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from dashboard.model.snapshot import Series
    from dashboard.model.time_window import Window


@lru_cache(64)
def adoption(
    series: tuple[Series, ...], window: Window, marks: tuple[tuple[str, datetime], ...], zone: tzinfo
) -> Chart:
    """Return the share of each version per bucket, stacked to 100 %; a bucket without events has no bar."""
    numbers = volume_chart.chart(Volume(series, marks), window, zone, can_select=False).to_dict()
    layout = numbers["layout"]
    return Chart(
        [
            {**bars, "y": list(of_version), "customdata": _described(bars["customdata"], of_version)}
            for bars, of_version in zip(numbers["data"], shares(series), strict=True)
        ],
        {
            **layout,
            "yaxis": {
                "range": [0, 1],
                "tickformat": ".0%",
                "tickvals": [0, 0.25, 0.5, 0.75, 1],
                "fixedrange": True,
            },
            # No bar is cut, so no number of a cut one is needed.
            "annotations": layout["annotations"][: len(marks)],
        },
    )


def _described(buckets: list[list[str]], of_version: Sequence[float | None]) -> list[list[str]]:
    return [
        [at, f"{n} events, {'–' if share is None else formatting.percent(share)}", so_far]
        for (at, n, so_far), share in zip(buckets, of_version, strict=True)
    ]


def adoption_text(series: tuple[Series, ...]) -> str:
    """Return what the chart says, in a sentence, for screen readers."""
    of_last = {
        one.version: next((share for share in reversed(of_version) if share is not None), None)
        for one, of_version in zip(series, shares(series), strict=True)
    }
    known = ", ".join(
        f"{version} {formatting.percent(share)}" for version, share in of_last.items() if share is not None
    )
    return f"Share of each schema version over time: {f'at last {known}' if known else 'no events'}."
