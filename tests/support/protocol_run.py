"""Runs the model and the engine side by side, for a number of examples."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.protocol_engine import Hurried
from tests.support.protocol_machine import SideBySide
from tests.support.protocol_theatre import Theatre

# Modules that pause before they ask again after a lost connection.
_PAUSING = ("rkyc.engine.commit", "rkyc.engine.flusher")


def run_side_by_side(dsn: str, monkeypatch: pytest.MonkeyPatch, *, examples: int, steps: int) -> None:
    """Run so many examples of at most so many rules each."""
    for module in _PAUSING:
        monkeypatch.setattr(f"{module}.asyncio", Hurried())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        theatre = Theatre(runner)
        try:
            runner.run(theatre.open(dsn))
            machine = type("Machine", (SideBySide,), {"theatre": theatre})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    database=None,
                    # Not what explains a failure: it would run the engine for long.
                    phases=[Phase.generate, Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                ),
            )
            print(*(f"{number:6} {what}" for what, number in sorted(theatre.seen.items())), sep="\n")
        finally:
            runner.run(theatre.close())
