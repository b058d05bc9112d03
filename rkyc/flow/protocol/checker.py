"""Walks over every state that the protocol can reach, for a given size.

Jobs meet only in their workers, so a state is who is frozen, how many faults may still come, and one
part per job; what may happen to a part is worked out once. States that differ only in the names of
workers, or of jobs of the same graph, count as one. In each the invariants are checked; afterwards,
that whatever the engine does by itself comes to an end, and only where all jobs have ended.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple, TypeAlias

from rkyc.flow.graph import Graph
from rkyc.flow.protocol import actions
from rkyc.flow.protocol.invariants import find_violation
from rkyc.flow.protocol.moves import Outside, moves_of
from rkyc.flow.protocol.rules import Rules
from rkyc.flow.protocol.state import Job, normalise

# (mask of frozen workers, faults that may still come, number of the part of each job)
State: TypeAlias = tuple[int, ...]
# In place of the faults that may still come.
UNBOUNDED = -1


@dataclass(frozen=True, slots=True)
class Size:
    """How much is walked: one graph per job.

    `faults` bounds how often something comes from outside in one history: a death, a freeze, a lost answer, a
    drain, a person; None: any number of times. `revivals`: how often a person may start an ended job again;
    `restarts`: that it may be from any step, completed or not. `signals`: how many may be sent to a job;
    `pauses`: that it may be paused and resumed.
    """

    graphs: tuple[Graph, ...]
    workers: int = 3
    faults: int | None = 2
    revivals: int = 1
    signals: int = 0
    restarts: bool = False
    pauses: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found: how many states and moves, the longest way of the engine to an end, and what is wrong."""

    states: int
    moves: int
    longest: int
    violation: str | None = None
    trace: tuple[str, ...] = ()


class _Option(NamedTuple):
    label: str
    part: int
    cost: int
    # Masks: workers that may hold nothing, or no suspect, in other jobs.
    idle: int
    not_alone: int


class Checker:
    """One walk. `is_symmetric=False` keeps the names of workers, so that a trace reads well."""

    def __init__(self, size: Size, rules: Rules | None = None, *, is_symmetric: bool = True) -> None:
        self._size = size
        self._rules = rules or Rules()
        self._outside = Outside(size.revivals, size.signals, size.restarts, size.pauses)
        everyone = range(size.workers)
        self._orders = list(permutations(everyone)) if is_symmetric else [tuple(everyone)]
        self._is_symmetric = is_symmetric
        self._numbers: dict[tuple[int, Job], int] = {}
        self._parts: list[tuple[int, Job]] = []
        self._busy: list[int] = []
        self._alone: list[int] = []
        self._held: list[int] = []
        self._wrong: list[str | None] = []
        self._renamed: dict[int, tuple[int, ...]] = {}
        self._options: dict[tuple[int, int], tuple[_Option, ...]] = {}
        self._crashes: dict[tuple[int, int], tuple[int, ...]] = {}
        self._kinds = [size.graphs.index(graph) for graph in size.graphs]
        self._masks = [
            [self._rename_mask(mask, order) for mask in range(1 << size.workers)] for order in self._orders
        ]

    def run(self, *, states_max: int = 10_000_000) -> Walk:
        """Walk until nothing new is found, or something is wrong; the trace is a shortest one.

        Raises:
            RuntimeError: more states than `states_max`.
        """
        start = self._canonical(
            (
                0,
                UNBOUNDED if self._size.faults is None else self._size.faults,
                *(self._number(kind, actions.enqueue(self._size.graphs[kind])) for kind in self._kinds),
            )
        )
        found: dict[State, int] = {start: 0}
        queue = [start]
        parents, labels = array("l", [-1]), [""]
        # The engine's own moves, state by state: `ends[n]` is where those of state n end in `targets`.
        targets, ends = array("l"), array("l")
        moves = 0
        for number, state in enumerate(queue):
            if wrong := self._check(state):
                return Walk(len(queue), moves, 0, wrong, _trace(parents, labels, number))
            for label, cost, following in self._follow(state):
                moves += 1
                known = found.get(following)
                if known is None:
                    known = found[following] = len(queue)
                    queue.append(following)
                    parents.append(number)
                    labels.append(label)
                    if known >= states_max:
                        raise RuntimeError(f"more than {states_max} states: walk a smaller size")
                if not cost:
                    targets.append(known)
            ends.append(len(targets))
        longest, stuck = _find_way_out(targets, ends)
        if stuck is None:
            stuck = next(
                (
                    n
                    for n in range(len(queue))
                    if self._is_sink(targets, ends, n) and not self._may_rest(queue[n])
                ),
                None,
            )
            what = "nothing more happens by itself, and a job has not ended"
        else:
            what = "the engine goes round in a circle"
        if stuck is not None:
            return Walk(len(queue), moves, longest, what, _trace(parents, labels, stuck))
        return Walk(len(queue), moves, longest)

    def _follow(self, state: State) -> Iterator[tuple[str, int, State]]:
        """Yield (label, whether it comes from outside, state) of all that may happen next."""
        frozen, left, *parts = state
        rest = max(left - 1, UNBOUNDED)
        for place, part in enumerate(parts):
            busy = alone = 0
            for other, another in enumerate(parts):
                if other != place:
                    busy |= self._busy[another]
                    alone |= self._alone[another]
            for option in self._options_of(part, frozen):
                if (option.cost and not left) or option.idle & busy or option.not_alone & alone:
                    continue
                after = parts.copy()
                after[place] = option.part
                yield (
                    option.label,
                    option.cost,
                    self._canonical((frozen, rest if option.cost else left, *after)),
                )
        for worker in range(self._size.workers):
            bit = 1 << worker
            if frozen & bit:
                # Outside, at no cost: it may thaw at any time, or never.
                yield f"worker {worker} thaws", 1, self._canonical((frozen & ~bit, left, *parts))
            elif left and any((self._busy[part] | self._held[part]) & bit for part in parts):
                yield f"worker {worker} freezes", 1, self._canonical((frozen | bit, rest, *parts))
            if left and any((self._busy[part] | self._held[part]) & bit for part in parts):
                for after_crash in product(*(self._crashed(part, worker) for part in parts)):
                    yield f"worker {worker} dies", 1, self._canonical((frozen & ~bit, rest, *after_crash))

    def _options_of(self, part: int, frozen: int) -> tuple[_Option, ...]:
        known = self._options.get((part, frozen))
        if known is None:
            kind, job = self._parts[part]
            awake = tuple(w for w in range(self._size.workers) if not frozen >> w & 1)
            known = self._options[part, frozen] = tuple(
                _Option(
                    f"job {kind}: {move.label}",
                    self._number(kind, move.job),
                    int(move.is_outside),
                    1 << move.idle if move.idle >= 0 else 0,
                    1 << move.not_alone if move.not_alone >= 0 else 0,
                )
                for move in moves_of(self._size.graphs[kind], self._rules, job, awake, self._outside)
            )
        return known

    def _crashed(self, part: int, worker: int) -> tuple[int, ...]:
        known = self._crashes.get((part, worker))
        if known is None:
            kind, job = self._parts[part]
            graph = self._size.graphs[kind]
            after = {self._number(kind, actions.crash(job, worker))}
            after |= {self._number(kind, dead) for dead in actions.crash_with_mail(graph, job, worker)}
            known = self._crashes[part, worker] = tuple(sorted(after))
        return known

    def _number(self, kind: int, job: Job) -> int:
        """Return the number of a part; a new one is checked."""
        job = normalise(
            job,
            forgets=job.revivals >= self._size.revivals or (_is_completed(job) and not self._size.restarts),
            drops_stale=self._rules.is_fenced,
        )
        known = self._numbers.get((kind, job))
        if known is None:
            known = self._numbers[kind, job] = len(self._parts)
            self._parts.append((kind, job))
            self._busy.append(_mask(one.worker for one in job.beliefs))
            self._alone.append(_mask(one.worker for one in job.beliefs if one.is_alone))
            self._held.append(_mask(task.holder for task in job.tasks if task.holder >= 0))
            self._wrong.append(find_violation(self._size.graphs[kind], job))
        return known

    def _canonical(self, state: State) -> State:
        """Return the same for all states that differ only in names, or in who is frozen with empty hands."""
        frozen, left, *parts = state
        if frozen:
            held = 0
            for part in parts:
                held |= self._busy[part] | self._held[part]
            frozen &= held
        if not self._is_symmetric:
            return (frozen, left, *parts)
        renamed = [self._renames(part) for part in parts]
        return min(
            (masks[frozen], left, *self._sorted([names[number] for names in renamed]))
            for number, masks in enumerate(self._masks)
        )

    def _sorted(self, parts: list[int]) -> list[int]:
        return sorted(parts) if len(set(self._kinds)) == 1 else parts

    def _renames(self, part: int) -> tuple[int, ...]:
        """Return the numbers of a part under each order of the workers."""
        known = self._renamed.get(part)
        if known is None:
            kind, job = self._parts[part]
            known = tuple(self._number(kind, _rename(job, order)) for order in self._orders)
            self._renamed[part] = known
        return known

    @staticmethod
    def _rename_mask(mask: int, order: Sequence[int]) -> int:
        return _mask(order[worker] for worker in range(len(order)) if mask >> worker & 1)

    def _check(self, state: State) -> str | None:
        parts = state[2:]
        for place, part in enumerate(parts):
            if wrong := self._wrong[part]:
                return wrong
            for another in parts[place + 1 :]:
                if self._alone[part] & self._busy[another] or self._alone[another] & self._busy[part]:
                    return "a worker runs something beside a suspect"
        return None

    @staticmethod
    def _is_sink(targets: array[int], ends: array[int], number: int) -> bool:
        return ends[number] == (ends[number - 1] if number else 0)

    def _may_rest(self, state: State) -> bool:
        """Return whether nothing is owed: all jobs have ended or wait for a signal, or nobody is awake."""
        frozen, _, *parts = state
        if frozen == (1 << self._size.workers) - 1:
            return True
        return all(_is_at_rest(self._parts[part][1]) for part in parts)


def _find_way_out(targets: array[int], ends: array[int]) -> tuple[int, int | None]:
    """Return (the longest way of the engine by itself, a state on a circle or None)."""
    unseen, is_open, closed = 0, 1, 2
    colour = bytearray(len(ends))
    lengths = array("l", bytes(array("l").itemsize * len(ends)))
    for root in range(len(ends)):
        if colour[root] != unseen:
            continue
        colour[root] = is_open
        stack = [(root, ends[root - 1] if root else 0)]
        while stack:
            number, at = stack.pop()
            if at == ends[number]:
                colour[number] = closed
                if stack:
                    above = stack[-1][0]
                    lengths[above] = max(lengths[above], lengths[number] + 1)
                continue
            stack.append((number, at + 1))
            following = targets[at]
            if colour[following] == is_open:
                return 0, following
            if colour[following] == unseen:
                colour[following] = is_open
                stack.append((following, ends[following - 1] if following else 0))
            else:
                lengths[number] = max(lengths[number], lengths[following] + 1)
    return max(lengths, default=0), None


def _trace(parents: array[int], labels: list[str], number: int) -> tuple[str, ...]:
    lines = []
    while parents[number] >= 0:
        lines.append(labels[number])
        number = parents[number]
    return tuple(reversed(lines))


def _rename(job: Job, order: Sequence[int]) -> Job:
    return job._replace(
        tasks=tuple(
            sorted(
                task._replace(holder=order[task.holder]) if task.holder >= 0 else task for task in job.tasks
            )
        ),
        beliefs=tuple(sorted(one._replace(worker=order[one.worker]) for one in job.beliefs)),
    )


def _is_at_rest(job: Job) -> bool:
    """Return whether a job has ended, is paused, or waits for a signal that nobody has sent."""
    if job.end is not None:
        return True
    reasons = {task.reason for task in job.tasks}
    return "paused" in reasons or ("signal" in reasons and not job.untaken)


def _is_completed(job: Job) -> bool:
    return job.end is not None and job.end.state == "completed"


def _mask(workers: Iterator[int] | Sequence[int]) -> int:
    mask = 0
    for worker in workers:
        mask |= 1 << worker
    return mask
