"""Compatibility levels of a schema registry: which schema must read which."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Mode(StrEnum):
    """A compatibility level, as the registries name them."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def is_transitive(self) -> bool:
        """Whether the new schema is compared with all earlier ones, and not with the latest only."""
        return self.endswith("_TRANSITIVE")

    @property
    def directions(self) -> Sequence[Direction]:
        """Who must be able to read whom."""
        level = self.removesuffix("_TRANSITIVE")
        return [direction for direction in Direction if level in {direction.name, "FULL"}]


class Direction(StrEnum):
    """Who reads whom."""

    #: Consumers with the new schema read what is written with the old one.
    BACKWARD = "BACKWARD"
    #: Consumers with the old schema read what is written with the new one.
    FORWARD = "FORWARD"


def strictest(directions: Sequence[Direction]) -> Mode:
    """The strictest level without _TRANSITIVE that allows two schemas which are compatible in these directions."""
    if len(directions) > 1:
        return Mode.FULL
    return Mode(directions[0]) if directions else Mode.NONE


def first_to_upgrade(mode: Mode) -> str:
    """Which side must get the new schema first, as a sentence."""
    if len(mode.directions) > 1:
        return "Producers and consumers can be upgraded in any order."
    return _FIRST[mode.directions[0]] if mode.directions else _NOBODY


_FIRST = {
    Direction.BACKWARD: "Upgrade the consumers first, then the producers.",
    Direction.FORWARD: "Upgrade the producers first, then the consumers.",
}
_NOBODY = "NONE checks nothing: upgrade producers and consumers together."
