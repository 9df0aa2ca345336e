"""Python's garbage collector in a process that builds tens of thousands of documents a second and drops them whole.

Documents have no cycles, so that counting references frees them. By default every 700 new dictionaries have the
collector look at the young ones, and now and then at everything, the modules of all libraries too: a quarter of the
worker's CPU. It goes on collecting cycles, of which asyncio makes some, but less often.
"""

from __future__ import annotations

import gc

#: New objects more than freed ones, until the young are looked at; and how often that is, until the older are.
THRESHOLDS = (20_000, 20, 20)


def look_less() -> None:
    """Leave out what is there by now, which stays, and look at what comes less often."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
