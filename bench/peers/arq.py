"""arq: Python and Redis. Results are not kept, which is its fastest; no steps."""

from __future__ import annotations

from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import RedisStore

RIVAL = Rival(
    name="arq",
    version="0.28.0",
    licence="MIT",
    packages=PythonPackages(("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0", "uvloop==0.23.0")),
    worker="arq_worker",
    store=RedisStore(("ZCARD arq:queue",)),
    loads={
        "noop": Load(jobs=8_000, slots=200),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=10_000),
    },
    settings="max_jobs 200, queue_read_limit 1,000, poll_delay 0.05 s, keep_result 0, hiredis, uvloop;"
    " Redis with appendonly, synced every second; bulk: 32 single calls side by side",
)
