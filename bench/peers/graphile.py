"""graphile-worker: Node and Postgres. It deletes completed jobs; no history, no results, no steps."""

from __future__ import annotations

from bench.peers.packages import NodePackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import PostgresStore

RIVAL = Rival(
    name="graphile-worker",
    version="0.17.3",
    licence="MIT",
    packages=NodePackages({"graphile-worker": "0.17.3"}),
    worker="graphile_worker",
    store=PostgresStore("SELECT NOT EXISTS (SELECT FROM graphile_worker._private_jobs)"),
    loads={
        "noop": Load(jobs=30_000, slots=100, goal=2.0),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=30_000),
        "start": Load(jobs=150, slots=100),
    },
    # Source: https://worker.graphile.org/docs/performance (2026-11-21).
    settings="localQueue.size 500 and completion batches (delay 0) as its documentation names them for speed;"
    " concurrentJobs 100 and a pool of 10, which were faster here than its 24 and 25; deletes completed jobs",
)
