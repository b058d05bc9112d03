"""How soon does an enqueued job start where no NOTIFY arrives, and what does looking cost?

Behind a transaction-mode pooler LISTEN is silent: the worker finds that out at its start and looks for
work by itself. Here its LISTEN goes to another database, where nobody notifies, which is as silent.
Statements are counted by the server while the worker is idle; then jobs are enqueued at random moments.
"""

from __future__ import annotations

import asyncio
import time

from bench.enqueue_start import probe
from bench.harness import Bench, command, run_case
from bench.measure import Measure, Sample, pick_quantile

# Probes of a round, and seconds between a start and the next probe: more than any round of the worker.
PROBES = 15
PAUSE_S = (0.05, 0.5)
SETTLE_S = 1.0
WINDOW_S, WINDOW_LONG_S = 10.0, 60.0


async def measure(bench: Bench) -> list[Measure]:
    """Return the latency's median and 99th percentile over all rounds, and statements per second."""
    window_s = WINDOW_LONG_S if bench.is_long else WINDOW_S
    async with bench.with_statement_counts() as counting, counting.rkyc_database() as (dsn, client):
        marks = counting.make_marks(PROBES * (bench.runs + 1))
        line = command("bench.worker_process", dsn=dsn, marks=marks.path, direct_dsn=counting.dsn)
        async with counting.processes([line]) as (worker,):
            worker.open_gate()
            await worker.expect("serving")
            await asyncio.sleep(SETTLE_S)
            before, began = await counting.count_statements(dsn), time.monotonic()
            await asyncio.sleep(window_s)
            count = await counting.count_statements(dsn) - before
            statements = count / (time.monotonic() - began)
            rounds = [
                await probe(
                    marks,
                    lambda n: client.enqueue("probe", {"n": n}),
                    range(PROBES * number, PROBES * (number + 1)),
                    pause_s=PAUSE_S,
                )
                for number in range(bench.runs + 1)
            ]
    # The first round prepares statements.
    waits = rounds[1:]
    return [
        Measure(
            "enqueue to start, p50",
            "ms",
            [Sample(pick_quantile(one, 0.5)) for one in waits],
            more_is_better=False,
        ),
        Measure(
            "enqueue to start, p99",
            "ms",
            [Sample(pick_quantile([wait for one in waits for wait in one], 0.99))],
            more_is_better=False,
        ),
        Measure("statements while idle", "/s", [Sample(statements)], more_is_better=False),
    ]


if __name__ == "__main__":
    run_case("poll_only", measure)
