"""The claim's cursor against a model of Postgres: it may be slow, it may never skip a row that can still appear.

The model draws sequence numbers inside transactions that already have their xid, commits them in any
order, and claims as the statement does: the lowest visible numbers above the cursor, at most so many.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from rkyc.flow.cursor import ClaimCursor


@dataclass
class Database:
    """Transactions by xid, rows by sequence number."""

    next_xid: int = 100
    next_seq: int = 1
    open: dict[int, list[int]] = field(default_factory=dict)
    ready: set[int] = field(default_factory=set)

    def begin(self) -> None:
        self.open[self.next_xid] = []
        self.next_xid += 1

    def insert(self, which: int) -> None:
        if self.open:
            xid = sorted(self.open)[which % len(self.open)]
            self.open[xid].append(self.next_seq)
            self.next_seq += 1

    def commit(self, which: int) -> None:
        if self.open:
            xid = sorted(self.open)[which % len(self.open)]
            self.ready |= set(self.open.pop(xid))

    def rollback(self, which: int) -> None:
        if self.open:
            del self.open[sorted(self.open)[which % len(self.open)]]

    def claim(self, cursor: ClaimCursor, slots: int) -> list[int]:
        visible = sorted(seq for seq in self.ready if seq > cursor.after)
        taken = visible[:slots]
        self.ready -= set(taken)
        cursor.note_claim(
            max(taken, default=None),
            min(self.open, default=self.next_xid),
            self.next_xid,
            is_full=len(taken) == slots,
        )
        return taken


STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "insert", "commit", "rollback", "claim"]), st.integers(0, 9)),
    max_size=120,
)


@settings(max_examples=400)
@given(STEPS)
def test_the_cursor_never_passes_a_row_that_is_there_or_may_still_come(steps: list[tuple[str, int]]) -> None:
    database, cursor = Database(), ClaimCursor()
    for name, number in steps:
        if name == "begin":
            database.begin()
        elif name == "claim":
            database.claim(cursor, 1 + number)
        else:
            getattr(database, name)(number)
        alive = database.ready | {seq for rows in database.open.values() for seq in rows}
        assert cursor.after < min(alive, default=database.next_seq)


def test_the_cursor_follows_as_soon_as_older_transactions_have_ended() -> None:
    cursor = ClaimCursor()
    cursor.note_claim(10, 100, 105, is_full=False)
    assert cursor.after == 0
    cursor.note_claim(None, 104, 110, is_full=False)
    assert cursor.after == 0
    cursor.note_claim(None, 105, 111, is_full=False)
    assert cursor.after == 10


def test_a_full_claim_does_not_let_the_cursor_pass_its_last_row() -> None:
    cursor = ClaimCursor()
    cursor.note_claim(100, 50, 60, is_full=False)
    # Late committers below 100 came: this claim took only the first of them.
    cursor.note_claim(40, 70, 71, is_full=True)
    assert cursor.after == 40


def test_a_long_transaction_keeps_the_cursor_where_it_was_and_memory_bounded() -> None:
    cursor = ClaimCursor()
    for number in range(10_000):
        cursor.note_claim(number + 1, 50, 60 + number, is_full=False)
    assert cursor.after == 0
    assert len(cursor._candidates) <= 64
    cursor.note_claim(None, 100_000, 100_001, is_full=False)
    assert cursor.after == 10_000


def test_a_full_claim_from_the_beginning_brings_the_cursor_back_to_what_it_left() -> None:
    cursor = ClaimCursor()
    cursor.note_claim(100, 5, 10, is_full=False)
    cursor.note_claim(None, 10, 0, is_full=False)
    assert cursor.after == 100
    # It began at 0 and found rows of a claim that was rolled back, as many as it could take.
    cursor.note_claim(40, 20, 21, is_full=True)
    assert cursor.after == 40
    cursor.note_claim(60, 22, 23, is_full=False)
    cursor.note_claim(None, 24, 0, is_full=False)
    assert cursor.after == 60
