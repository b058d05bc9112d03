"""pg-boss: Node and Postgres. Finished jobs stay in its table until they are archived; no steps."""

from __future__ import annotations

from bench.peers.packages import NodePackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import PostgresStore

RIVAL = Rival(
    name="pg-boss",
    version="10.4.2",
    licence="MIT",
    packages=NodePackages({"pg-boss": "10.4.2"}),
    worker="pgboss_worker",
    store=PostgresStore(
        "SELECT NOT EXISTS (SELECT FROM pgboss.job WHERE name = 'job' AND state < 'completed')"
    ),
    loads={
        "noop": Load(jobs=20_000, slots=2_000),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=30_000),
    },
    settings="batchSize 2,000, pollingIntervalSeconds 0.5 (its smallest), bulk by insert() of 1,000;"
    " 10.x is the last that runs on Node 20",
)
