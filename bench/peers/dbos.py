"""DBOS: durable steps in Postgres, as a library for Python. Workflows and step outputs are kept."""

from __future__ import annotations

from bench.peers.packages import PythonPackages
from bench.peers.rival import Load, Rival
from bench.peers.stores import PostgresStore

RIVAL = Rival(
    name="dbos",
    version="3.4.0",
    licence="MIT",
    packages=PythonPackages(("dbos==3.4.0", "sqlalchemy==2.1.9", "psycopg[binary]==3.3.9")),
    worker="dbos_worker",
    store=PostgresStore(
        "SELECT NOT EXISTS (SELECT FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))"
    ),
    loads={
        "eight": Load(jobs=300, slots=40, goal=60.0),
        "enqueue_one": Load(jobs=500),
        "enqueue_bulk": Load(jobs=3_000),
        "recovery": Load(jobs=200, slots=200),
    },
    settings="async workflows, queue with worker_concurrency 40 (faster here than 10 and 20) polled each 0.05 s,"
    " sys_db_pool_size 20 (default); bulk: 500 per transaction; recovery: the dead process is started again, since no other one takes up its jobs",
    needs_restart=True,
)
