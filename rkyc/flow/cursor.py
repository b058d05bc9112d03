"""How far the claim of a lane may skip dead rows, bound to snapshots. Pure.

Another session that pins a snapshot keeps deleted rows in the index; a claim that starts from the
beginning walks over all of them. The claim starts above the last number that can't be waiting any
more. Numbers are drawn by transactions that already have their xid, so once every transaction that
was running when number S was seen has ended, nothing at or below S can still appear.
"""

from __future__ import annotations

from collections import deque


class ClaimCursor:
    """The cursor of one lane: `after` is the number to start above."""

    __slots__ = ("_candidates", "after")

    def __init__(self) -> None:
        self.after = 0
        # (highest number claimed, bound that proves it), oldest first.
        self._candidates: deque[tuple[int, int]] = deque()

    def note_claim(self, highest: int | None, xmin: int, bound: int, *, is_full: bool) -> None:
        """Take in an answer of the claim: the highest number it took, its snapshot's xmin, and its bound.

        The bound is one above the claim's own xid: it was drawn after the claim had seen the number, so
        every transaction that drew a lower number has a lower xid, and has ended once xmin reaches it.
        (The snapshot's own xmax would not do: it is one above the last xid that ended, not the last drawn.)

        `is_full`: it took as many as it asked for, so there may be more right above its last row.
        """
        if is_full and highest is not None and highest < self.after:
            # A claim from the beginning found rows that were left below, perhaps more than it could take.
            self.after = highest
            return
        while self._candidates and self._candidates[0][1] <= xmin:
            if is_full and highest is not None and self._candidates[0][0] > highest:
                # Late committers below the candidate, more than one claim could take.
                self.after = max(self.after, highest)
                break
            self.after = max(self.after, self._candidates.popleft()[0])
        if highest is not None and (not self._candidates or highest > self._candidates[-1][0]):
            self._candidates.append((highest, bound))
            if len(self._candidates) > 64:
                # Keep the oldest, which will be proven first, and the newest; thin out between.
                del self._candidates[1]
