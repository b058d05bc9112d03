"""The real engine beside the protocol's model: random graphs, outcomes, deaths, cancels, signals, lost answers."""

from __future__ import annotations

import pytest

from tests.support.protocol_run import run_side_by_side

pytestmark = pytest.mark.timeout(900)


# 500 histories, in parts: each in a database of its own, so that the suite's processes share them.
@pytest.mark.parametrize("part", range(5))
def test_engine_and_model_agree_whatever_happens(
    part: int, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_side_by_side(dsn, monkeypatch, examples=100, steps=15)
