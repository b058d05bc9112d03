"""The rules of the protocol that are easy to leave out, and the broken variants that lack one each.

The engine keeps all of them: `Rules()`. Each variant drops one, and the checker must find what goes
wrong then; a checker that finds nothing in a broken protocol proves nothing about a whole one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rules:
    """True: the protocol as it is. Each name says what the engine does."""

    # Every write that follows a claim names the fence of its lease.
    commit_joins_fence: bool = True
    # A claim draws a number that no lease had before.
    claim_draws_fence: bool = True
    # Only a worker whose presence is gone, or that froze, loses its tasks.
    reclaim_needs_death: bool = True
    # The leases are locked before the statement that reads their checkpoints.
    reclaim_locks_first: bool = True
    # A checkpoint is written while the lease's row is locked.
    checkpoint_locks_lease: bool = True
    # The place of a checkpoint in its job is a primary key.
    checkpoint_has_number: bool = True
    # Counting an arrival locks the join's row.
    arrival_locks_join: bool = True
    # After a lost connection the answer is read back before anything is sent again.
    lost_answer_is_read_back: bool = True
    # A retry keeps the count of crashes.
    retry_keeps_crashes: bool = True
    # A cancel that found a task between two tables looks again.
    cancel_looks_again: bool = True
    # A task that is given back stands at its last checkpoint, not where it was claimed.
    release_knows_progress: bool = True
    # Nothing runs beside a task that was seen in two crashes.
    suspects_run_alone: bool = True
    # A worker gives back the leases that it holds without knowing.
    orphans_are_released: bool = True
    # A wait looks for its signal once more, under the lock that senders take.
    wait_looks_again: bool = True

    @property
    def is_fenced(self) -> bool:
        """Nothing is ever written in the name of a lease that is gone."""
        return self.commit_joins_fence and self.claim_draws_fence and self.checkpoint_locks_lease


# Name of the broken variant -> the rule that it lacks.
VARIANTS: dict[str, str] = {
    "commit without a fence": "commit_joins_fence",
    "a fence that does not grow": "claim_draws_fence",
    "reclaim by time alone": "reclaim_needs_death",
    "reclaim that reads before it locks": "reclaim_locks_first",
    "checkpoint without the lease's lock": "checkpoint_locks_lease",
    "checkpoint without a number": "checkpoint_has_number",
    "join counted without a lock": "arrival_locks_join",
    "a lost answer taken for a failure": "lost_answer_is_read_back",
    "crashes forgotten by a retry": "retry_keeps_crashes",
    "cancel that misses a moving task": "cancel_looks_again",
    "release to where it was claimed": "release_knows_progress",
    "suspects beside others": "suspects_run_alone",
    "orphans that nobody gives back": "orphans_are_released",
    "wake-up lost between look and park": "wait_looks_again",
}


def break_rule(variant: str) -> Rules:
    """Return the rules without the one that the variant lacks."""
    return replace(Rules(), **{VARIANTS[variant]: False})
