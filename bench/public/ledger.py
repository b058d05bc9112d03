"""When each job was enqueued, and how often and when its body ended: kept outside of the replicas.

A file that all replicas map, with a place for each job, so that a kill -9 takes nothing along and
nothing is locked: who enqueues writes one part of a job's place, who runs it the other, and bodies are
counted by runner. Only the driver beside makes one; the public benchmark knows nothing of it. A
replica that is started again goes on numbering where its predecessor ended.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct("<QQ")  # replicas, jobs that each may number
_NUMBER = struct.Struct("<Q")
_ENQUEUED = struct.Struct("<dB")  # when, whether that was answered
_ENDED = struct.Struct("<ff")  # milliseconds from the enqueue to the body's start and end
_JOB_BYTES = _ENQUEUED.size + _ENDED.size
_RUNS_MAX = 255


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger holds of one job; times are those of the body that ended last."""

    producer: int
    number: int
    enqueued_at: float
    is_acknowledged: bool
    ended: int
    start_ms: float
    end_ms: float

    @property
    def ended_at(self) -> float:
        """Seconds of the wall clock."""
        return self.enqueued_at + self.end_ms / 1000


class Ledger:
    """Facts of jobs (producer, number), written by `replicas` processes at once."""

    def __init__(self, path: Path, *, replica: int = 0) -> None:
        self.path = path
        self._replica = replica
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._replicas: int
        self._capacity: int
        self._replicas, self._capacity = _HEAD.unpack_from(self._map, 0)
        self._jobs_at = _HEAD.size + _NUMBER.size * self._replicas
        self._runs_at = self._jobs_at + _JOB_BYTES * self._replicas * self._capacity

    @classmethod
    def create(cls, path: Path, *, replicas: int, jobs: int) -> Ledger:
        """Make an empty one; the file is sparse."""
        head = _HEAD.pack(replicas, jobs) + bytes(_NUMBER.size * replicas)
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + jobs * replicas * (_JOB_BYTES + replicas))
        return cls(path)

    def take(self, count: int, at: float) -> range:
        """Return the next numbers of this replica, for jobs that are enqueued at that time.

        Raises:
            SystemExit: there are no more; the driver made the ledger too small.
        """
        place = _HEAD.size + _NUMBER.size * self._replica
        first: int = _NUMBER.unpack_from(self._map, place)[0]
        if first + count > self._capacity:
            raise SystemExit(f"the ledger {self.path} is full after {self._capacity} jobs of a replica")
        numbers = range(first, first + count)
        self._note_enqueue(numbers, at, is_acknowledged=False)
        _NUMBER.pack_into(self._map, place, first + count)
        return numbers

    def acknowledge(self, numbers: range, at: float) -> None:
        """Note that the enqueue of these was answered."""
        self._note_enqueue(numbers, at, is_acknowledged=True)

    def end(self, producer: int, number: int, *, start_ms: float, end_ms: float) -> None:
        """Note that a body of this job ended here, and how long after the enqueue it began and ended."""
        _ENDED.pack_into(self._map, self._job_at(producer, number) + _ENQUEUED.size, start_ms, end_ms)
        place = self._run_at(self._replica, producer) + number
        self._map[place] = min(_RUNS_MAX, self._map[place] + 1)

    def entries(self) -> Iterator[Entry]:
        """Yield every job that was numbered."""
        for producer in range(self._replicas):
            (count,) = _NUMBER.unpack_from(self._map, _HEAD.size + _NUMBER.size * producer)
            starts = [self._run_at(runner, producer) for runner in range(self._replicas)]
            for number in range(count):
                place = self._job_at(producer, number)
                at, is_acknowledged = _ENQUEUED.unpack_from(self._map, place)
                start_ms, end_ms = _ENDED.unpack_from(self._map, place + _ENQUEUED.size)
                ended = sum(self._map[start + number] for start in starts)
                yield Entry(producer, number, at, bool(is_acknowledged), ended, start_ms, end_ms)

    def _note_enqueue(self, numbers: range, at: float, *, is_acknowledged: bool) -> None:
        for number in numbers:
            _ENQUEUED.pack_into(self._map, self._job_at(self._replica, number), at, is_acknowledged)

    def _job_at(self, producer: int, number: int) -> int:
        return self._jobs_at + (producer * self._capacity + number) * _JOB_BYTES

    def _run_at(self, runner: int, producer: int) -> int:
        return self._runs_at + (runner * self._replicas + producer) * self._capacity
