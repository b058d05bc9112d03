"""Procrastinate: Python and Postgres. Finished jobs stay in its table; no results, no steps."""

from __future__ import annotations

from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import PostgresStore

RIVAL = Rival(
    name="procrastinate",
    version="3.10.0",
    licence="MIT",
    packages=PythonPackages(("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0")),
    worker="procrastinate_worker",
    store=PostgresStore(
        "SELECT NOT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    ),
    loads={
        "noop": Load(jobs=3_000, slots=30),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=10_000),
        "start": Load(jobs=150, slots=10),
    },
    settings="concurrency 30, pool of 20 connections, uvloop, LISTEN/NOTIFY; finished jobs are kept (default)",
)
