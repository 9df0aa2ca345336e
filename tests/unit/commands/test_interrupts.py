"""Signals that ask a command to end."""

from __future__ import annotations

import signal

import pytest

from streamapp.commands.interrupts import Interrupted, Interrupts


def test_a_signal_that_is_held_has_its_effect_afterwards() -> None:
    """Once, and no other after it."""
    done: list[str] = []

    def work(interrupts: Interrupts) -> None:
        interrupts.hold()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        done.append("work")
        interrupts.let_go()
        done.append("more")

    with Interrupts() as interrupts:
        with pytest.raises(Interrupted) as ended:
            work(interrupts)
        signal.raise_signal(signal.SIGHUP)

    assert (["work"], 143) == (done, ended.value.exit_code)
