"""What a process pays for providers that it does not call."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "{'anthropic', 'openai', 'httpx2', 'numpy'}"


@pytest.mark.parametrize("module", ["rkyc.providers.llm.build", "rkyc.providers.search.build"])
def test_options_and_routers_load_neither_sdk_nor_numpy(module: str) -> None:
    code = f"import sys, {module}; print(sorted({HEAVY} & sys.modules.keys()))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=15
    )
    assert told.stdout.strip() == "[]"
