"""Import every fault, so that each is in the catalogue."""

from tests.faults import clocks, dying, hostile, letters, membership, outages, refusals, sizes, topics
from tests.faults.catalogue import ALL

__all__ = ["ALL", "clocks", "dying", "hostile", "letters", "membership", "outages", "refusals", "sizes", "topics"]
