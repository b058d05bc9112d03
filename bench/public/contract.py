"""What the public benchmark tells an adapter, and the lines that an adapter answers with.

In come environment variables, `ENQUEUE n` lines on stdin and a file that holds the rate; out go JSON
lines on stdout: one descriptor, then samples. The contract is that of CONTRIBUTING_ADAPTERS.md and
bench_harness/ of github.com/hardbyte/postgresql-job-queue-benchmarking; see README.md.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSTEM = "rkyc"
MANIFEST = json.loads(Path(__file__).with_name("adapter.json").read_text(encoding="utf-8"))
# What JSON keys and numbers of a job's input take of its size, as the other adapters count it. Bytes.
_HEAD_BYTES = 96


def choose_prefetch(workers: int) -> int:
    """Return how many tasks to claim ahead of so many slots: jobs of a millisecond are shorter than a claim."""
    return max(128, 4 * workers)


@dataclass(frozen=True, slots=True)
class Orders:
    """The environment variables of one run; `_s` is seconds, `_ms` milliseconds."""

    database_url: str
    scenario: str = "long_horizon"
    instance: int = 0
    producer_mode: str = "fixed"
    is_paced_by_harness: bool = False
    is_producer: bool = True
    producer_rate: float = 800.0
    rate_file: Path | None = None
    batch_max: int = 128
    batch_ms: float = 25.0
    target_depth: int = 1000
    workers: int = 32
    work_ms: float = 1.0
    padding: str = ""
    prefetch: int = 128
    sample_every_s: float = 5.0
    window_s: float = 30.0
    ledger: Path | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Orders:
        """Read the variables; one that is not set has the default of the contract.

        Raises:
            SystemExit: DATABASE_URL is not set, or a number can't be read.
        """
        if not environ.get("DATABASE_URL"):
            raise SystemExit("DATABASE_URL is not set: postgresql://user:password@host:port/database")
        get = environ.get
        instance = int(get("BENCH_INSTANCE_ID") or 0)
        duration = get("JOB_DURATION_MS") or "30000"
        workers = int(get("WORKER_COUNT") or 32)
        return cls(
            database_url=environ["DATABASE_URL"],
            scenario=get("SCENARIO") or "long_horizon",
            instance=instance,
            producer_mode=get("PRODUCER_MODE") or "fixed",
            is_paced_by_harness=get("PRODUCER_PACING") == "harness",
            is_producer=instance == 0 or int(get("PRODUCER_ONLY_INSTANCE_ZERO") or 0) == 0,
            producer_rate=float(get("PRODUCER_RATE") or 800),
            rate_file=_path(get("PRODUCER_RATE_CONTROL_FILE")),
            batch_max=max(1, int(get("PRODUCER_BATCH_MAX") or 128)),
            batch_ms=max(1.0, float(get("PRODUCER_BATCH_MS") or 25)),
            target_depth=int(get("TARGET_DEPTH") or 1000),
            workers=workers,
            prefetch=int(get("RKYC_PREFETCH") or choose_prefetch(workers)),
            work_ms=float(duration if get("SCENARIO") == "worker_only" else get("JOB_WORK_MS") or 1),
            padding=_pad(int(get("JOB_PAYLOAD_BYTES") or 256), is_random=get("JOB_PAYLOAD_KIND") == "random"),
            sample_every_s=float(get("SAMPLE_EVERY_S") or 5),
            window_s=float(get("LATENCY_WINDOW_MS") or 30_000) / 1000,
            ledger=_path(get("RKYC_BENCH_LEDGER")),
        )

    @property
    def is_observer(self) -> bool:
        """Whether this replica tells what concerns the whole queue, such as its depth."""
        return self.instance == 0

    def read_rate(self) -> float:
        """Return the jobs per second that are asked for now: the control file wins, if it can be read."""
        if self.rate_file is None:
            return self.producer_rate
        try:
            return float(self.rate_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self.producer_rate


def describe(orders: Orders, *, version: str, schema_version: str, database: str) -> None:
    """Write the descriptor, which the harness compares with adapter.json."""
    _write(
        {
            "kind": "descriptor",
            "system": SYSTEM,
            "instance_id": orders.instance,
            "event_tables": MANIFEST["event_tables"],
            "event_indexes": MANIFEST["event_indexes"],
            "extensions": MANIFEST["extensions"],
            "version": version,
            "schema_version": schema_version,
            "db_name": database,
            "started_at": _now(),
        }
    )


def report(orders: Orders, samples: Iterable[tuple[str, float, float]]) -> None:
    """Write samples of one moment: (metric, value, seconds that the value looks back; 0: this moment)."""
    at = _now()
    for metric, value, window_s in samples:
        _write(
            {
                "t": at,
                "system": SYSTEM,
                "kind": "adapter",
                "instance_id": orders.instance,
                "subject_kind": "adapter",
                "subject": "",
                "metric": metric,
                "value": round(value, 4),
                "window_s": window_s,
            }
        )


def _write(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _pad(payload_bytes: int, *, is_random: bool) -> str:
    length = max(0, payload_bytes - _HEAD_BYTES)
    return base64.b64encode(os.urandom(length)).decode()[:length] if is_random else "x" * length
