"""How long until `rkyc serve` is ready, and how long does `rkyc --help` take?

From the start of the process to the line that says that it is ready, with the web app and the built-in
pipelines, on the private Postgres: while that runs already (another process uses it), and when it has
to be started on its data folder first. Then the engine alone, with one small pipeline. Help is compared
with a Python that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from bench.harness import ROOT, Bench, Process, run_case
from bench.measure import Measure, Sample, measure_in_turn
from bench.small_app import ALONE
from rkyc.store.embedded import start_embedded, stop_embedded


async def measure(bench: Bench) -> list[Measure]:
    """Return seconds to ready on a server that runs and on one that does not, and of help."""
    # Short: the path of a socket may have some hundred characters.
    home = bench.folder / "home"

    async def warm(*options: str) -> Sample:
        await start_embedded(home)
        try:
            return await _time_serve(home, *options)
        finally:
            await stop_embedded(home)

    samples = await measure_in_turn(
        bench.runs,
        {
            "warm": lambda: warm("--port", "0"),
            "cold": lambda: _time_serve(home, "--port", "0"),
            "alone": lambda: warm(*ALONE),
            "help": lambda: _time_command("-m", "rkyc", "--help"),
            "nothing": lambda: _time_command("-c", "pass"),
        },
    )
    return [
        Measure("ready, private Postgres runs", "s", samples["warm"], more_is_better=False),
        Measure("ready, private Postgres to be started", "s", samples["cold"], more_is_better=False),
        Measure("ready, engine alone", "s", samples["alone"], more_is_better=False),
        Measure(
            "rkyc --help",
            "s",
            samples["help"],
            samples["nothing"],
            more_is_better=False,
            against="python -c pass",
        ),
    ]


async def _time_serve(home: Path, *options: str) -> Sample:
    began = time.monotonic()
    async with Process.start(
        ["rkyc", "serve", *options], environ={"RKYC_DATA_DIR": str(home), "LOG_LEVEL": "WARNING"}
    ) as worker:
        json.loads(await worker.read_line())
        return Sample(time.monotonic() - began)


async def _time_command(*arguments: str) -> Sample:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
    )
    await process.wait()
    return Sample(time.monotonic() - began)


if __name__ == "__main__":
    run_case("startup", measure)
