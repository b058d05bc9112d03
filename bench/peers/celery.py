"""Celery: Python and Redis. Results are ignored, which is its fastest; messages vanish; no steps."""

from __future__ import annotations

import os

from bench.marks import PROCESSES_MAX
from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import RedisStore

# A child per processor, its default, as far as there are marks for them.
_CHILDREN = min(PROCESSES_MAX, len(os.sched_getaffinity(0)))

RIVAL = Rival(
    name="celery",
    version="5.7.0",
    licence="BSD-3-Clause",
    packages=PythonPackages(("celery[redis]==5.7.0", "kombu==5.7.0", "redis==8.1.0", "hiredis==3.5.0")),
    worker="celery_worker",
    # An acknowledged message is gone from both.
    store=RedisStore(("LLEN celery", "HLEN unacked")),
    loads={
        "noop": Load(jobs=6_000, slots=_CHILDREN),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=5_000),
        "start": Load(jobs=150, slots=_CHILDREN),
    },
    settings=f"one worker of {_CHILDREN} processes (prefork), prefetch multiplier 100, results ignored, acknowledged"
    " early (default), no gossip, mingle or heartbeat; Redis with appendonly, synced every second;"
    " no bulk call: one by one",
)
