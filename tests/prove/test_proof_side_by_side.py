"""The real engine beside the protocol's model, for long: see tests/engine/test_protocol.py."""

from __future__ import annotations

import os

import pytest

from tests.support.protocol_run import run_side_by_side

pytestmark = [pytest.mark.prove, pytest.mark.timeout(14_400)]


def test_engine_and_model_agree_in_twenty_thousand_histories(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = int(os.environ.get("HISTORIES", "20000"))
    run_side_by_side(dsn, monkeypatch, examples=examples, steps=30)
