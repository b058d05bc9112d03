"""SAQ: Python and Redis. Finished jobs stay for ten minutes; no steps."""

from __future__ import annotations

from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import RedisStore

RIVAL = Rival(
    name="saq",
    version="0.26.4",
    licence="MIT",
    packages=PythonPackages(
        (
            "saq[redis,hiredis]==0.26.4",
            "typing-extensions==4.16.0",
            "redis==7.4.1",
            "hiredis==3.5.0",
            "uvloop==0.23.0",
        )
    ),
    worker="saq_worker",
    store=RedisStore(("ZCARD saq:default:incomplete",)),
    loads={
        "noop": Load(jobs=10_000, slots=100),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=10_000),
    },
    settings="concurrency 100, hiredis, uvloop; finished jobs kept for 10 min (default);"
    " Redis with appendonly, synced every second; bulk: 32 single calls side by side",
)
