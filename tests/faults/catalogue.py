"""The definition of a fault, and all faults by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.environment import Environment

Hurt = Callable[["Environment"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A failure that lasts for some time; it is over when `hurt` returns."""

    name: str
    hurt: Hurt
    #: What no other fault may use at the same time.
    uses: frozenset[str]
    #: Whether records, and dead letters with them, may be delivered again because of it.
    disturbs: bool

    @property
    def sentence(self) -> str:
        """One sentence that describes it."""
        return (self.hurt.__doc__ or "").strip().splitlines()[0]


ALL: dict[str, Fault] = {}
#: The whole environment.
EVERYTHING = ("kafka", "mongod", "registry", "workers", "load")


def fault(name: str, *uses: str, disturbs: bool = True) -> Callable[[Hurt], Hurt]:
    """Register a function as a fault."""

    def enter(hurt: Hurt) -> Hurt:
        ALL[name] = Fault(name=name, hurt=hurt, uses=frozenset(uses), disturbs=disturbs)
        return hurt

    return enter
