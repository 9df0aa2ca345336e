"""What a fault is, and all there are, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.environment import Environment

Hurt = Callable[["Environment"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong, for a while; when `hurt` returns it is over."""

    name: str
    hurt: Hurt
    #: What no other fault may touch meanwhile.
    uses: frozenset[str]
    #: Whether records may be delivered again because of it, and dead letters with them.
    disturbs: bool

    @property
    def sentence(self) -> str:
        """What it is, in a sentence."""
        return (self.hurt.__doc__ or "").strip().splitlines()[0]


ALL: dict[str, Fault] = {}
#: The whole scene.
EVERYTHING = ("kafka", "mongod", "registry", "workers", "load")


def fault(name: str, *uses: str, disturbs: bool = True) -> Callable[[Hurt], Hurt]:
    """Enter a function as a fault."""

    def enter(hurt: Hurt) -> Hurt:
        ALL[name] = Fault(name=name, hurt=hurt, uses=frozenset(uses), disturbs=disturbs)
        return hurt

    return enter
