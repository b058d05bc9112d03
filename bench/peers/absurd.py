"""Absurd: durable steps in Postgres, with an SDK for Python. Tasks, runs and checkpoints are kept."""

from __future__ import annotations

from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import PostgresStore

RIVAL = Rival(
    name="absurd",
    version="0.5.1",
    licence="Apache-2.0",
    packages=PythonPackages(
        ("absurd-sdk==0.5.1", "absurdctl==0.5.1", "psycopg[binary]==3.3.9", "uvloop==0.23.0")
    ),
    worker="absurd_worker",
    store=PostgresStore(
        "SELECT NOT EXISTS (SELECT FROM absurd.t_default WHERE state NOT IN ('completed', 'failed', 'cancelled'))"
    ),
    loads={
        "eight": Load(jobs=800, slots=10, goal=30.0),
        "enqueue_one": Load(jobs=1_000),
        "enqueue_bulk": Load(jobs=5_000),
        "nap": Load(jobs=5_000, slots=5_000),
    },
    settings="one connection per worker (its SDK's only mode), concurrency and batch 10 (5 and 20 were no better here),"
    " poll_interval 0.25 s (default), uvloop; bulk: spawns on 8 connections",
)
