"""Runs the model and the engine side by side, for a number of examples."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyStrategyDefinition, HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from tests.support.protocol_engine import Hurried
from tests.support.protocol_machine import SideBySide
from tests.support.protocol_theatre import Theatre

# Modules that pause before they ask again after a lost connection.
_PAUSING = ("rkyc.engine.commit", "rkyc.engine.flusher")


class _Watched(SideBySide):
    """Keeps a divergence that Hypothesis might report as flaky draws when it tries to repeat it."""

    theatre: Theatre

    def teardown(self) -> None:
        raised = sys.exc_info()[1]
        try:
            super().teardown()
        except Exception as error:
            raised = raised or error
            raise
        finally:
            if isinstance(raised, Exception) and not isinstance(raised, HypothesisException):
                self.theatre.divergence = raised


def run_side_by_side(dsn: str, monkeypatch: pytest.MonkeyPatch, *, examples: int, steps: int) -> None:
    """Run so many examples of at most so many rules each.

    Hypothesis wants what began alike to go on alike. A commit whose sender is killed lands or does not, so
    it comes upon such a pair sooner or later, and stops: then the examples that are left run anew.
    """
    for module in _PAUSING:
        monkeypatch.setattr(f"{module}.asyncio", Hurried())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        theatre = Theatre(runner)
        try:
            runner.run(theatre.open(dsn))
            machine = type("Machine", (_Watched,), {"theatre": theatre})
            while (left := examples - theatre.seen["histories"]) > 0:
                try:
                    run_state_machine_as_test(machine, settings=_settings(left, steps))
                    break
                except FlakyStrategyDefinition:
                    if theatre.divergence is not None:
                        raise theatre.divergence from None
                    theatre.seen["stops by unequal draws"] += 1
            print(*(f"{number:6} {what}" for what, number in sorted(theatre.seen.items())), sep="\n")
        finally:
            runner.run(theatre.close())


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        # Not what explains a failure: it would run the engine for long.
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
