"""All faults: whoever imports this finds them in the catalogue."""

from tests.faults import dying, membership, outages
from tests.faults.catalogue import ALL

__all__ = ["ALL", "dying", "membership", "outages"]
