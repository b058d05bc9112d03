"""PgQueuer: Python and Postgres. A finished job leaves one row in its log table; no results, no steps."""

from __future__ import annotations

from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import PostgresStore

RIVAL = Rival(
    name="pgqueuer",
    version="1.6.0",
    licence="MIT",
    packages=PythonPackages(("pgqueuer[asyncpg]==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0")),
    worker="pgqueuer_worker",
    store=PostgresStore("SELECT NOT EXISTS (SELECT FROM pgqueuer)"),
    loads={
        "noop": Load(jobs=30_000, slots=1_000, goal=2.0),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=30_000),
        "start": Load(jobs=150, slots=10),
        "nap": Load(jobs=5_000, slots=5_000),
        "recovery": Load(jobs=200, slots=200),
    },
    # Source: its guide "Performance Tuning" (2026-11-21).
    settings="batch_size 1,000 (faster here than 100, 200 and 500), pool of 10 connections, asyncpg, uvloop, LISTEN/NOTIFY,"
    " durability durable (default), heartbeat_timeout 30 s (default); a job is one body: after a crash it starts from the top",
)
