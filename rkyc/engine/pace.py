"""How often a look may be taken that is cheap by itself, and dear while somebody pins a snapshot.

What a queue deletes stays in its tables as long as any session's snapshot may see it, and a look from the
beginning walks over all of it. So looks that take long are far between: after the second that took 0.1 s there is none for 20 s.
"""

from __future__ import annotations

import time

# A pause is so many times as long as the look before it; seconds at most.
SHARE = 200.0
PAUSE_S_MAX = 60.0
# What takes no longer has met no dead rows to speak of, or a busy machine. Seconds.
CHEAP_S = 0.1


class Pace:
    """Says when the next look is due; `pause_s` is the shortest pause."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self._shortest_s = pause_s
        self._due_at = time.monotonic() + pause_s
        self._was_dear = False

    def is_due(self) -> bool:
        """Return whether a look may be taken now."""
        return time.monotonic() >= self._due_at

    def note(self, took_s: float) -> None:
        """A look was taken, in so many seconds."""
        is_dear = took_s > CHEAP_S
        # Once is chance: a plan that is made, a cold cache, a processor that was elsewhere.
        pause_s = min(PAUSE_S_MAX, SHARE * took_s) if is_dear and self._was_dear else 0.0
        self._was_dear = is_dear
        self._due_at = time.monotonic() + max(self._shortest_s, pause_s)
