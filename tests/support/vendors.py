"""The vendors as one scripted process, for real servers: their addresses, and what they were asked.

Two requests are the same call when they ask the same at the same address; the delimiters that a prompt
makes anew for each call do not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_DELIMITER = re.compile(r"<<<([0-9a-f]{16})\b")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: where it went, and what it asked, as text."""

    path: str
    asked: str

    @property
    def short(self) -> str:
        return f"{self.path} {self.asked[:200]}"


@dataclass(frozen=True, slots=True)
class Vendors:
    """A running vendor process."""

    url: str
    ledger: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment that leads every provider here."""
        return {
            "ANTHROPIC_API_KEY": "key",
            "ANTHROPIC_BASE_URL": self.url,
            "OPENAI_API_KEY": "key",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "PERPLEXITY_API_KEY": "key",
            "PERPLEXITY_BASE_URL": self.url,
            "INTERNAL_LLM_BASE_URL": f"{self.url}/v1",
            "INTERNAL_LLM_MODEL": "internal",
        }

    def calls(self) -> list[Call]:
        """Return what was asked so far, in order."""
        if not self.ledger.exists():
            return []
        lines = [json.loads(line) for line in self.ledger.read_text("utf-8").splitlines()]
        return [Call(line["path"], _canonical(line["body"])) for line in lines]


@contextlib.asynccontextmanager
async def open_vendors(folder: Path, script: dict[str, Any]) -> AsyncIterator[Vendors]:
    """Run the vendors by this script (see `vendor_wire`) until the block ends."""
    rules, ledger = folder / "vendors.json", folder / "vendors.jsonl"
    rules.write_text(json.dumps(script), encoding="utf-8")
    command = ["-m", "tests.support.vendor_wire", "--ledger", str(ledger), "--script", str(rules)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Vendors(json.loads(await process.stdout.readline())["url"], ledger)
    finally:
        process.kill()
        await process.wait()


def _canonical(body: dict[str, Any]) -> str:
    text = json.dumps(body, ensure_ascii=False, sort_keys=True)
    for mark in set(_DELIMITER.findall(text)):
        text = text.replace(mark, "mark")
    return text
