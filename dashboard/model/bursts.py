"""The axis of a chart in which a few buckets have far more events than the others; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.model.snapshot import Series

#: A burst has more events than this many times the usual number.
FACTOR = 4
#: The share of the buckets, the lowest first, up to which the number of events is usual.
USUAL = 0.9
#: Buckets with events; among fewer of them, none is usual.
_FEWEST = 8
#: Space above the highest bar that is not cut.
_ROOM = 1.3


class Axis(NamedTuple):
    """The end of the axis, and the buckets whose bars are cut by it."""

    end: float
    #: Events, by the index of the bucket.
    cut: Mapping[int, int]


def axis(stacked: Sequence[Series], before: Sequence[int | None] = ()) -> Axis | None:
    """Return the axis on which the usual buckets can be read, None if the largest bucket is usual too.

    At most a tenth of the buckets with events is cut. A line of the period before has room, unless it has a burst.
    """
    per_bucket = [sum(column) for column in zip(*(series.per_bucket for series in stacked), strict=True)]
    ranked = sorted(n for n in per_bucket if n)
    if len(ranked) < _FEWEST:
        return None
    usual = ranked[int(USUAL * (len(ranked) - 1))]
    if ranked[-1] <= FACTOR * usual:
        return None
    line = max((n for n in before if n), default=0)
    end = max(usual, min(line, FACTOR * usual)) * _ROOM
    return Axis(end, {at: n for at, n in enumerate(per_bucket) if n > end})
