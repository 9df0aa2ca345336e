"""Signals that end a command."""

from __future__ import annotations

import signal

import pytest

from streamapp.commands.interrupts import Interrupted, Interrupts


def test_a_deferred_signal_takes_effect_at_the_end_of_the_block() -> None:
    """Once; later signals are ignored."""
    done: list[str] = []

    def work(interrupts: Interrupts) -> None:
        with interrupts.deferred:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            done.append("work")
        done.append("more")

    with Interrupts() as interrupts:
        with pytest.raises(Interrupted) as ended:
            work(interrupts)
        signal.raise_signal(signal.SIGHUP)

    assert (["work"], 143) == (done, ended.value.exit_code)
