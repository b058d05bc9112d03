"""The rows that the guards of plans look at, and the values that the statements are run with.

The jobs of the scene have numbers far above those of a filled database, so that the same values serve
whatever else is there: `BASE + 1` and the ones after it are held by worker 1, `BASE + 81` to `BASE + 100` by
worker 2, which is dead.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from rkyc.store.pool import Connection
from tests.support.plan_rows import BASE, SCENE, TASK

# How many rows an array of the examples has.
ROWS = 5
_NOW = dt.datetime.now(dt.UTC)

<<<<<<< HEAD
=======
# Hot rows of each kind, as little as shows each statement at work.
_SCENE = """
INSERT INTO rkyc.pipeline_version (name, version, graph, first_step)
  VALUES ('noop', 1, '{"steps": [{"name": "s0", "share": 50}, {"name": "s1", "share": 50}]}', 's0');
INSERT INTO rkyc.pipeline_edition (name, version, sha256, identities, registered_at) VALUES ('noop', 1, 'known', '{}', now());
INSERT INTO rkyc.worker (name, host, pid, version, lanes, slots, presence_at, started_at, beat_at)
  SELECT 'w' || n, 'h', n, '0', '{default}', 1, now(), now(), now() FROM generate_series(1, 2) n;
INSERT INTO rkyc.boot (at) VALUES (now());
INSERT INTO rkyc.job (id, uuid, pipeline, version, lane, input, created_at, deadline_at) OVERRIDING SYSTEM VALUE
  SELECT $base + n, (lpad(to_hex($base + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, 'noop', 1, 'default', '{}', now(),
    CASE WHEN n = 601 THEN now() - interval '1 s' END
  FROM generate_series(1, 700) n;
INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts, alone_crashes,
                          started_at, step_started_at, claimed_at)
  SELECT $base + n, 0, $base + n, CASE WHEN n > 80 THEN 2 ELSE 1 END, 'default', 's0', 0, 0, 0, 0, now(), now(), now()
  FROM generate_series(1, 100) n
  UNION ALL
  SELECT $base + 401, n, $base + 400 + n, 1, 'default', 'm', 1, 0, 0, 0, now(), now(), now() FROM generate_series(1, 2) n;
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, started_at, finished_at)
  SELECT $base + n, 1, 0, 's0', 's1', 1, $base + n, 1, '{"x": 1}', now(), now()
  FROM generate_series(1, 410) n WHERE n <= 100 OR n BETWEEN 201 AND 220 OR n = 401;
INSERT INTO rkyc.ready (lane, seq, job_id, step, events)
  SELECT 'default', $base + n, $base + n, 's1', CASE WHEN n <= 220 THEN 1 ELSE 0 END FROM generate_series(201, 300) n;
INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
  SELECT now() - interval '1 hour', 'scheduled', 'default', $base + n, 's0' FROM generate_series(301, 305) n
  UNION ALL SELECT now() + interval '1 hour', 'scheduled', 'default', $base + 601, 's0';
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT CASE WHEN n <= 330 THEN 'no_worker' ELSE 'suspect' END, 'noop@1', 'default', $base + n, 's0', now() FROM generate_series(321, 340) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since, due_at)
  SELECT 'signal', 'noop@1', 'default', $base + n, 's0', now(), now() - interval '1 hour' FROM generate_series(341, 345) n
  UNION ALL SELECT 'signal', 'noop@1', 'default', $base + 602, 's0', now(), now() + interval '1 hour';
INSERT INTO rkyc.schedule (name, pipeline, input, lane, interval_s, time_zone, catch_up, catch_up_max, overlap, origin, next_fire, created_at)
  VALUES ('nightly', 'noop', '{}', 'default', 1, 'UTC', 'all', 100, 'queue', 'code', now() - interval '1 hour', now()),
         ('paused', 'noop', '{}', 'default', 1, 'UTC', 'all', 100, 'queue', 'code', now(), now());
UPDATE rkyc.schedule SET paused = name = 'paused';
INSERT INTO rkyc.schedule_fire (schedule, tick, job_uuid, by_hand, at)
  SELECT 'nightly', timestamptz '2020-01-01' - make_interval(secs => n - 351), j.uuid, false, now() FROM generate_series(351, 380) n
  JOIN rkyc.job j ON j.id = $base + n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT 'turn', 'schedule:nightly', 'default', $base + n, 's0', now() FROM generate_series(351, 355) n;
INSERT INTO rkyc.fair_turn VALUES ('default', '', 3, now() - interval '2 days'), ('default', 'noop@1', 3, now() - interval '2 days');
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT 'fair', 'noop@' || n % 2, 'default', $base + n, 's0', now() FROM generate_series(396, 400) n;
UPDATE rkyc.job SET budget_usd = 1 WHERE id = $base + 1;
INSERT INTO rkyc.job_budget VALUES ($base + 1, 1);
INSERT INTO rkyc.limit_bucket SELECT CASE n WHEN 1 THEN 'ask' ELSE 'scope ' || n END, now() - interval '2 hours' FROM generate_series(1, 20) n;
INSERT INTO rkyc.limit_grant SELECT $base + n, 0, 'ask', now() - interval '2 hours' FROM generate_series(1, 20) n;
INSERT INTO rkyc.breaker VALUES ('noop', 5, 0, now(), now() - interval '1 s');
INSERT INTO rkyc.limit_rule VALUES ('ask', 10, now());
INSERT INTO rkyc.limit_slot (scope, number, name, job_id, branch, fence, freed_at)
  SELECT 'ask', n, 'ask', CASE WHEN n = 5 THEN $base + 1 WHEN n = 6 THEN $base + 700 END, CASE WHEN n IN (5, 6) THEN 0 END,
    CASE WHEN n = 5 THEN $base + 1 WHEN n = 6 THEN 1 END, now() - interval '2 hours' FROM generate_series(0, 6) n
  UNION ALL SELECT 'ask:' || n, 0, 'ask', NULL, NULL, NULL, now() - interval '2 hours' FROM generate_series(1, 5) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT 'limit', 'ask', 'default', $base + n, 's0', now() FROM generate_series(391, 395) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since, match)
  SELECT 'event', 'rates', 'default', $base + n, 's0', now(), '{"usd": 1}' FROM generate_series(346, 350) n;
INSERT INTO rkyc.signal (job_id, name, payload, source, at) SELECT $base + n, 'noop', '1', 'sql', now() FROM generate_series(1, 5) n;
INSERT INTO rkyc.child (parent_id, step, branch, name, child_id, child_uuid, on_parent_end, state, spawned_at)
  SELECT $base + 1, 's1', 0, 'child:' || n, j.id, j.uuid, 'cancel', CASE WHEN n > 395 THEN 'failed' END, now()
  FROM generate_series(391, 398) n JOIN rkyc.job j ON j.id = $base + n
  UNION ALL SELECT $base + 501, 's1', 0, 'child:' || n, j.id, j.uuid, 'cancel', NULL, now()
  FROM generate_series(381, 384) n JOIN rkyc.job j ON j.id = $base + n;
INSERT INTO rkyc.orphaned SELECT $base + n, now() FROM generate_series(501, 505) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since) SELECT 'child', '*', 'default', $base + 385, 's0', now();
INSERT INTO rkyc.topic VALUES ('rates');
INSERT INTO rkyc.published (topic, payload, at) SELECT 'rates', '{"usd": 1}', now() FROM generate_series(1, 5) n;
INSERT INTO rkyc.branching VALUES ($base + 401, 3);
INSERT INTO rkyc.join_point VALUES ($base + 401, 'gather', 0, 2);
INSERT INTO rkyc.event (job_id, seq, type, step, attempt, at) VALUES ($base + 1, 2, 'step.retrying', 's1', 1, now());
INSERT INTO rkyc.history (job_id, state, seq, step, fence, worker_id, open_tasks, finished_at, error_code)
  SELECT $base + n, 'failed', 1, 's1', $base + n, 1, '$task', now(), 'PERMANENT' FROM generate_series(501, 510) n;
INSERT INTO rkyc.dead_letter (id, queue, job_id, step, reason, error_code, at, first_at, expires_at) OVERRIDING SYSTEM VALUE
  SELECT $base + n, 'dlq.default', $base + n, 's1', 'task_failed', 'PERMANENT', now() - interval '1 hour', now(),
    now() - interval '1 day'
  FROM generate_series(501, 510) n;
INSERT INTO rkyc.heartbeat SELECT $base + n, 0, 's1', 1, '1', now() FROM generate_series(1, 20) n;
INSERT INTO rkyc.ready_mark VALUES (now() - interval '2 hours', 1);
INSERT INTO rkyc.start_limit VALUES ('noop', 1, 's0', NULL, 3600);
UPDATE rkyc.lane SET ttl_s = 3600, redrive_every_s = 300, redrive_at = now() - interval '1 day' WHERE name = 'default';
INSERT INTO rkyc.journal (job_id, step, branch, name, answer, ms, worker_id, at)
  SELECT $base + n, 's1', 0, 'asked', '1', 1, 1, now() FROM generate_series(1, 20) n;
INSERT INTO rkyc.stream VALUES ($base + 1, 1, 2);
INSERT INTO rkyc.stream_chunk (job_id, seq, branch, fence, step, attempt, number, is_again, text)
  SELECT $base + 1, n, 0, $base + 1, 's1', 1, n, false, 't' FROM generate_series(1, 2) n;
INSERT INTO rkyc.stream_event (job_id, seq, fence, is_end, branch, step, attempt, chunks, chars, at)
  SELECT $base + 1, n, $base + 1, n = 2, 0, 's1', 1, 2, 2, now() FROM generate_series(1, 2) n;
INSERT INTO rkyc.broadcast (id, topic, kind, payload, at)
  SELECT n, 'characters', CASE WHEN n IN (1, 50) THEN 'full_refresh' ELSE 'upsert' END, '{}', now() - interval '1 hour'
  FROM generate_series(1, 100) n;
INSERT INTO rkyc.unique_key SELECT 'key ' || n, now() - interval '1 hour' FROM generate_series(1, 100) n;
INSERT INTO rkyc.unique_holder SELECT 'key ' || n, $base + n, 'unfinished', NULL FROM generate_series(1, 50) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT 'paused', 'job:' || j.uuid, 'default', j.id, 's0', now() FROM rkyc.job j WHERE j.id = $base + 611;
INSERT INTO rkyc.pause VALUES ('lane', 'low', NULL, 'somebody', now(), NULL),
  ('lane', 'high', NULL, 'somebody', now() - interval '3 days', now() - interval '2 days');
INSERT INTO rkyc.idempotency SELECT 'known', j.uuid, '', now() FROM rkyc.job j WHERE j.id = $base + 1;
SELECT setval('rkyc.broadcast_seq', 1000), setval('rkyc.ready_seq', $base + 1000), setval(pg_get_serial_sequence('rkyc.job', 'id'), $base + 1000);
"""
>>>>>>> aebe9ee (Show pauses to the guards of plans)

# By the parameter's name; where it is an array, a single value stands for all its rows.
_EXAMPLES: dict[str, Any] = {
    "action": "job.cancel",
    "afters": 0,
    "at_most": 10,
    "at_mosts": 10,
    "after": 0,
    "all": False,
    "alone_crashes": 0,
    "answers": '"said"',
    "at_once": 2,
    "attempt": 1,
    "attempts": 1,
    "beat_s": 0.0,
    "before": None,
    "branch": 0,
    "branches": 0,
    "budget_usd": None,
    "burst": 16.0,
    "bursts": 1.0,
    "busy": 1,
    "by_hand": False,
    "catch_up": "all",
    "catch_up_max": 100,
    "channel": "rkyc_wake",
    "chars": 1,
    "child_id": BASE + 391,
    "child_uuid": UUID(f"{BASE + 391:012x}70008000{391:012x}"),
    "chunks": 1,
    "corp": None,
    "costs": 0.5,
    "crash_attempts": 0,
    "cron": None,
    "deadline_s": None,
    "degraded": False,
    "detail": None,
    "delivery_id": None,
    "details": None,
    "due_ats": _NOW + dt.timedelta(hours=1),
    "elements": "1",
    "ends": False,
    "error_attempts": 1,
    "error_class": "permanent",
    "error_code": "PERMANENT",
    "error_codes": "RETRYABLE",
    "error_details": None,
    "error_message": "no",
    "error_messages": "busy",
    "events": 1,
    "every_s": 1.0,
    "everys": 60.0,
    "failures_max": 5,
    "fair_key": "acme",
    "fence": BASE + 1,
    "for_s": None,
    "fences": [BASE + n for n in range(1, ROWS + 1)],
    "fingerprint": "0123456789ab",
    "first_branch": 131072,
    "first_lane": None,
    "first_step": "s0",
    "for_suspects": False,
    "frozen_after_s": 120.0,
    "from_id": UUID(int=0),
    "graph": '{"steps": []}',
    "has_presence": False,
    "held_while": "unfinished",
    "host": "h",
    "id": BASE + 501,
    "idempotency_key": None,
    "ids": [BASE + n for n in range(501, 501 + ROWS)],
    "inputs": '{"n": 1}',
    "interval_s": 1.0,
    "item_maps": 1,
    "item_step": "item",
    "item_steps": "item",
    "items": 5,
    "job_id": BASE + 1,
    "job_uuid": UUID(f"{BASE + 201:012x}70008000{201:012x}"),
    "job_ids": [BASE + n for n in range(1, ROWS + 1)],
    "input": "{}",
    "join_branch": 0,
    "join_count": 2,
    "join_lane": "default",
    "join_lanes": "default",
    "join_step": "gather",
    "is_probe": True,
    "join_steps": "gather",
    "kept": -1,
    "kept_days": 30,
    "kept_s": 600.0,
    "key": "known",
    "keys_max": 100,
    "kind": "signal",
    "kinds": "no_worker",
    "lane": "default",
    "last_error": None,
    "last_fire": None,
    "lanes": "default",
    "limit": 50,
    "limit_ms": "5000",
    "looks_at_horizon": True,
    "looks_deep": True,
    "match": None,
    "matches": None,
    "member_branches": 1,
    "member_lanes": None,
    "member_steps": "m",
    "maps": 0,
    "message": "too late",
    "metadata": None,
    "models": "m",
    "mss": 1,
    "name": "noop",
    "names": "ask",
    "next_fire": _NOW,
    "next_step": "s2",
    "next_steps": "s2",
    "notice": "chunks",
    "now": _NOW,
    "numbers": 7,
    "paused_by": "somebody",
    "object": "it",
    "on_parent_end": "cancel",
    "open_tasks": TASK,
    "parent_id": BASE + 1,
    "output": '{"x": 1}',
    "overlap": "queue",
    "outputs": '{"x": 1}',
    "payload": '{"usd": 1}',
    "payloads": "default",
    "pause_s": 10.0,
    "pause_s_max": 300.0,
    "pid": 1,
    "pipeline": "noop",
    "probe_s": 180.0,
    "promise_s": 2.0,
    "purpose": "ask",
    "providers": "p",
    "reason": "task_failed",
    "reasons": "retry_backoff",
    "request_sha256": b"",
    "restart_grace_s": 12.0,
    "run_at": None,
    "schedule": "nightly",
    "scopes": "ask",
    "seq": 3,
    "seqs": 3,
    "since": None,
    "sinces": 0,
    "sizes": [n + 10 for n in range(ROWS)],
    "slack_s": 3.0,
    "slots": ROWS,
    "start_at": _NOW,
    "source": "sql",
    "started_ats": _NOW,
    "state": "completed",
    "status": None,
    "step": "s1",
    "step_started_at": _NOW,
    "step_started_ats": _NOW,
    "steps": "s1",
    "task_name": None,
    "tells": True,
    "tick": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    "time_zone": "UTC",
    "texts": "t",
    "times": 3,
    "tokens_ins": 1,
    "topic": "rates",
    "traits": None,
    "tokens_outs": 1,
    "ttls": 3600.0,
    "usd": 1.0,
    "uuid": UUID(f"{BASE + 1:012x}70008000{1:012x}"),
    "uuids": [UUID(int=n) for n in range(1, ROWS + 1)],
    "version": 1,
    "wake_key": "noop@1",
    "wake_keys": "noop@1",
    "warnings": None,
    "versions": 1,
    "seconds": 60.0,
    "pipelines": "noop",
    "webhook_url": None,
    "who": "tester",
    "window_s": 60.0,
    "worker_id": 1,
    "worker_ids": 2,
}
# Where a job begins again that had one step done.
_KEPT: dict[str, Any] = {
    "kept_steps": "s0",
    "kept_branches": 0,
    "kept_nexts": "s1",
    "kept_outputs": None,
    "join_steps": [f"gather{n}" for n in range(ROWS)],
    "join_branches": 0,
    "join_remainings": 1,
    "start_steps": "s1",
    "start_branches": [*range(ROWS)],
    "start_lanes": None,
}
_EXAMPLES_OF: dict[str, dict[str, Any]] = {
    "add_child": {"name": "child:new", "child_uuid": UUID(f"{BASE + 386:012x}70008000{386:012x}")},
    "fork_job": {
        "source_id": BASE + 501,
        "uuid": UUID(int=77),
        "metadata": "{}",
        "kind": "fork",
        "is_forked": False,
        **_KEPT,
    },
    "add_pause": {"kind": "pipeline"},
<<<<<<< HEAD
    "end_pause": {"kind": "lane", "name": "high"},
    "has_name": {"kind": "lane", "name": "high"},
    "resume_job": {"job_id": BASE + 387, "uuid": UUID(f"{BASE + 387:012x}70008000{387:012x}")},
=======
    "end_pause": {"kind": "lane", "name": "low"},
    "has_name": {"kind": "pipeline"},
    "resume_job": {"job_id": BASE + 611, "uuid": UUID(f"{BASE + 611:012x}70008000{611:012x}")},
>>>>>>> aebe9ee (Show pauses to the guards of plans)
    "lock_end": {"job_id": BASE + 503},
    "restart_job": {"job_id": BASE + 502, "from_step": "s1", "is_forked": False, **_KEPT},
    "register_edition": {"sha256": "s", "identities": "{}"},
    "add_schedule": {"name": "other"},
    "advance_branches": {
        "job_ids": [BASE + 402] * ROWS,
        "branches": [131072 + n for n in range(ROWS)],
        "fences": [BASE + 421 + n for n in range(ROWS)],
    },
    "arrive_tasks": {
        "job_ids": [BASE + 402] * ROWS,
        "branches": [131072 + n for n in range(ROWS)],
        "fences": [BASE + 421 + n for n in range(ROWS)],
        "maps": 1,
    },
    "cancel_branched": {"job_id": BASE + 401},
    "cancel_chain": {"fences": [BASE + 1]},
    "declare_limits": {"names": [f"limit{n}" for n in range(ROWS)]},
    "drop_branching": {"job_id": BASE + 401},
    "declare_start_limits": {"names": "noop", "numbers": 1, "steps": [f"s{n}" for n in range(ROWS)]},
    "drop_marks": {"before": _NOW},
    "lock_ready_task": {"seq": BASE + 201, "job_id": BASE + 201},
    "declare_schedule": {"name": "nightly"},
    "drop_old_fires": {"before": _NOW},
    "drop_streams": {"before": _NOW},
    "find_checkpoint": {"steps": "s0"},
    "find_chunks": {"numbers": 1},
    "bury_job": {"job_id": BASE + 501},
    "lock_of_job": {"job_id": BASE + 501},
    "find_of_job": {"uuid": UUID(f"{BASE + 501:012x}70008000{501:012x}")},
    "find_ends": {key: [BASE + n for n in range(501, 501 + ROWS)] for key in ("job_ids", "fences")},
    "hold_for_turn": {"since": _NOW},
    "find_child": {"name": "child:391"},
    "has_child_ended": {"child_uuid": UUID(f"{BASE + 396:012x}70008000{396:012x}")},
    "find_start": {"since": _NOW + dt.timedelta(hours=1)},
    "give_signal": {"job_uuid": UUID(f"{BASE + 1:012x}70008000{1:012x}")},
    "find_unique_holder": {"key": "key 1"},
    "is_finished": {"job_id": BASE + 501},
    "list_executions": {"since": _NOW - dt.timedelta(hours=1)},
    "lock_branching": {"job_id": BASE + 401},
    "lock_branching_row": {"job_id": BASE + 401},
    "lock_schedule": {"name": "nightly"},
    "pass_turn": {"wake_key": "schedule:nightly"},
    "pause_schedule": {"name": "nightly"},
    "read_end": {"uuid": UUID(f"{BASE + 501:012x}70008000{501:012x}")},
    "read_events": {"since": 0},
    "reclaim_tasks": {"job_ids": [BASE + n for n in range(81, 81 + ROWS)]},
    "remove_schedule": {"name": "nightly"},
    "resume_schedule": {"name": "paused"},
    "advance_schedule": {"name": "nightly"},
    "register_policies": {"kept_days": 7.0},
    "reserve_units": {"scopes": ["ask", *(f"scope {n}" for n in range(2, ROWS + 1))]},
    "register_worker": {"version": "0"},
    "restore_worker": {"version": "0", "worker_id": 7},
    "retry_job": {"job_id": BASE + 501},
    "drop_broadcasts": {"before": _NOW, "limit": ROWS},
    "find_topic_start": {"topic": "characters"},
    "read_broadcasts": {"topic": "characters", "limit": ROWS},
    "let_go_of_key": {"key": "key 1"},
    "sweep_unique_keys": {"after": "", "limit": ROWS},
    "take_tick": {"tick": _NOW},
    "write_heartbeats": {"texts": "1"},
    "read_outputs_outside": {"names": "s0"},
    "spread_task": {"keys": "k"},
    "take_idempotency_key": {"key": "new"},
    "wake_parent": {"parent_id": BASE + 385, "step": "s0"},
    "wake_task": {"job_id": BASE + 321},
}


async def set_scene(conn: Connection) -> None:
    """Add the hot rows that the examples name."""
    await conn.execute(SCENE.replace("$base", str(BASE)).replace("$task", TASK))


def find_example(statement: str, param: str, type_: str) -> Any:
    """Return the value that a statement is run with, as its parameter's type wants it.

    Raises:
        KeyError: a parameter without an example.
    """
    examples = {**_EXAMPLES, **_EXAMPLES_OF.get(statement, {})}
    if param not in examples:
        raise KeyError(f"parameter {param} of {statement}: add an example of it")
    value = examples[param]
    if isinstance(value, dt.datetime) and type_.startswith("double precision"):
        value = value.timestamp()
    return [value] * ROWS if type_.endswith("[]") and not isinstance(value, list) else value
