"""The real engine beside the protocol's model, for long: see tests/engine/test_protocol.py."""

from __future__ import annotations

import os

import pytest

from tests.support.protocol_run import run_side_by_side

pytestmark = [pytest.mark.prove, pytest.mark.computes, pytest.mark.timeout(14_400)]

# Histories of one run: each has a database of its own, so runs can be spread over processes.
RUN = 500


@pytest.mark.parametrize("number", range(max(1, int(os.environ.get("HISTORIES", "20000")) // RUN)))
def test_engine_and_model_agree_in_twenty_thousand_histories(
    dsn: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    run_side_by_side(dsn, monkeypatch, examples=RUN, steps=30)
