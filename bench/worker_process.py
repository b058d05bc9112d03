"""A worker as users run it, as a process of the bench: `python -m bench.worker_process --dsn … --marks …`.

Says `ready` on stdout when all is imported and connected, begins when a line comes on stdin, says
`serving` when the worker listens, and drains on SIGTERM. With --profile it writes cProfile's list of
the functions that took most time to a file at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import signal
import sys
from pathlib import Path

import uvloop

from bench.marks import Marks
from bench.pipelines import build_registry
from rkyc.app import open_app, tune_collector
from rkyc.config import load_settings
from rkyc.telemetry.logs import setup_logger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--prefetch", type=int, default=0)
    parser.add_argument(
        "--direct-dsn", help="where LISTEN and presence go; another database: nothing is heard"
    )
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    if options.profile is None:
        uvloop.run(serve(options))
        return
    profile = cProfile.Profile()
    profile.runcall(uvloop.run, serve(options))
    with options.profile.open("w", encoding="utf-8") as file:
        pstats.Stats(profile, stream=file).sort_stats("tottime").print_stats(60)


async def serve(options: argparse.Namespace) -> None:
    """Open the app, wait for the gate, run the worker until SIGTERM."""
    direct = {"RKYC_DIRECT_DSN": options.direct_dsn} if options.direct_dsn else {}
    settings = load_settings({"RKYC_DSN": options.dsn, **direct})
    setup_logger(level="WARNING")
    registry = build_registry(Marks(options.marks, process=options.process))
    async with open_app(settings, registry=registry) as app:
        worker = app.make_worker(slots=options.slots, prefetch=options.prefetch, grace_s=1.0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        tune_collector()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        running = asyncio.create_task(worker.run())
        listening = asyncio.create_task(worker.ready.wait())
        await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
        print("serving", flush=True)
        await running


if __name__ == "__main__":
    main()
