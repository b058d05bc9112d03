"""What a rival is: its packages, its store, its worker script, and how much of each case it is given.

An adapter is one file of this folder with one `RIVAL`, and one script in `workers/` that runs in the
rival's own environment and talks to the rival through its documented interface alone. A rival that does
not name a case is not measured in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.peers.packages import NodePackages, PythonPackages
from bench.peers.stores import PostgresStore, RedisStore


@dataclass(frozen=True, slots=True)
class Load:
    """How many jobs the rival gets, and how many it may run at once.

    A rate hardly depends on the number of jobs, so a slow rival gets fewer: a run should take seconds.
    `goal` is the smallest ratio that rkyc promises.
    """

    jobs: int
    slots: int = 1
    goal: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One other queue, at the best settings its documentation names."""

    name: str
    version: str
    licence: str
    packages: PythonPackages | NodePackages
    worker: str
    store: PostgresStore | RedisStore
    loads: Mapping[str, Load]
    settings: str
    # Whether it takes up a dead process's jobs only when that process itself is started again.
    needs_restart: bool = False
