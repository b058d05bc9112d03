"""A worker of the bench that also writes down how long each of its claims took.

`python -m bench.timed_worker --dsn … --marks … FILE`: the options of bench.worker_process, then the file that gets, at
the end, two doubles for each claim: when it was asked for (CLOCK_MONOTONIC), and the seconds until its answer was read.
"""

from __future__ import annotations

import sys
import time
from array import array
from pathlib import Path
from typing import Any

from bench import worker_process
from rkyc.store.queue import tasks


def main() -> None:
    path = Path(sys.argv.pop())
    times = array("d")
    claim_tasks = tasks.claim_tasks

    async def claim(*values: Any, **named: Any) -> Any:
        asked_at = time.monotonic()
        answer = await claim_tasks(*values, **named)
        times.extend((asked_at, time.monotonic() - asked_at))
        return answer

    tasks.claim_tasks = claim
    worker_process.main()
    path.write_bytes(times.tobytes())


def read_times(path: Path) -> list[tuple[float, float]]:
    """Return (asked at, seconds) of each claim that a worker wrote down."""
    times = array("d")
    times.frombytes(path.read_bytes())
    return list(zip(times[::2], times[1::2], strict=True))


if __name__ == "__main__":
    main()
