"""How far a reader may go, and what a cache makes of events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rkyc.errors import DefinitionError
from rkyc.flow import payload as json
from rkyc.flow.broadcast import Broadcast, Cache, Frontier, Page

pytestmark = pytest.mark.anyio
AT = datetime(2030, 1, 1, tzinfo=UTC)


def page(*ids: int, xmin: int, bound: int | None = None, is_full: bool = False) -> Page:
    return Page([Broadcast(one, "t", "event", "{}", AT) for one in ids], xmin, bound, is_full)


def take(frontier: Frontier, *ids: int, **bounds: Any) -> list[int]:
    return [event.id for event in frontier.take(page(*ids, **bounds))]


def test_events_are_given_out_by_the_second_look_where_no_transaction_is_open() -> None:
    frontier = Frontier(0)
    # Number 1 may be drawn by a transaction that began after the last one that ended: no snapshot shows it.
    assert take(frontier, 2, xmin=10, bound=12) == []
    assert (frontier.noted, frontier.is_settled) == (2, False)
    assert take(frontier, 1, 2, xmin=12) == [1, 2]
    assert (frontier.after, frontier.is_settled) == (2, True)


def test_an_event_waits_for_the_transactions_that_might_bring_an_earlier_one() -> None:
    frontier = Frontier(0)
    # Transaction 8 is open; it may have drawn number 1.
    assert take(frontier, 2, xmin=8, bound=10) == []
    assert not frontier.is_settled
    # It goes on; others came and went.
    assert take(frontier, 2, 3, xmin=8, bound=14) == []
    # It has committed; 12, which began later, is open and can have drawn 4 only.
    assert take(frontier, 1, 2, 3, xmin=12) == [1, 2]
    assert take(frontier, 3, xmin=15) == [3]


def test_an_earlier_event_that_pushes_others_out_of_a_full_look_loses_none() -> None:
    frontier = Frontier(0)
    assert take(frontier, 11, 12, 13, xmin=5, bound=9, is_full=True) == []
    assert take(frontier, 1, 2, 11, xmin=9, is_full=True) == [1, 2, 11]
    assert take(frontier, 12, 13, xmin=9, bound=10) == []
    assert take(frontier, 12, 13, xmin=10) == [12, 13]


def test_a_transaction_that_rolled_back_holds_up_nobody() -> None:
    frontier = Frontier(4)
    assert take(frontier, 6, xmin=20, bound=22) == []
    assert take(frontier, 6, xmin=22) == [6]


def event(kind: str, payload: Any) -> Broadcast:
    return Broadcast(1, "characters", kind, json.encode(payload), AT)


async def test_a_cache_follows_refreshes_upserts_and_deletes() -> None:
    cache = Cache("characters", singular="character", plural="characters")
    assert not cache.is_complete
    await cache.apply(
        event("full_refresh", cache.describe_refresh([{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]))
    )
    assert cache.is_complete
    await cache.apply(event("upsert", cache.describe_upsert({"id": 2, "n": "c"})))
    await cache.apply(event("upsert", cache.describe_upsert({"id": 3, "n": "d"})))
    await cache.apply(event("delete", cache.describe_delete(1)))
    await cache.apply(event("delete", cache.describe_delete(99)))
    await cache.apply(event("renamed", {}))
    assert dict(cache.entries) == {2: {"id": 2, "n": "c"}, 3: {"id": 3, "n": "d"}}
    await cache.apply(event("full_refresh", cache.describe_refresh([{"id": 7}])))
    assert [entry["id"] for entry in cache] == [7]


def test_payloads_name_the_entries_as_told() -> None:
    cache = Cache("characters", singular="character", plural="characters")
    assert cache.describe_refresh([{"id": 1}]) == {"type": "full_refresh", "characters": [{"id": 1}]}
    assert cache.describe_upsert({"id": 1}) == {"type": "upsert", "character": {"id": 1}}
    assert cache.describe_delete(1) == {"type": "delete", "character_id": 1}
    with pytest.raises(DefinitionError, match="has no 'id'"):
        cache.describe_upsert({"name": "nobody"})
