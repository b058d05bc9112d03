"""The hot rows that the guards of plans look at: see `plan_scene`."""

from __future__ import annotations

BASE = 900_000_000
TASK = '[{"branch": 0, "step": "s1", "lane": "default", "started_at": null}]'

# Hot rows of each kind, as little as shows each statement at work.
SCENE = """
INSERT INTO rkyc.pipeline_version (name, version, graph, first_step)
  VALUES ('noop', 1, '{"steps": [{"name": "s0", "share": 50}, {"name": "s1", "share": 50}], "undo": [{"step": "s0"}]}', 's0');
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
  SELECT $base + 401, n, $base + 400 + n, 1, 'default', 'm', 1, 0, 0, 0, now(), now(), now() FROM generate_series(1, 2) n
  UNION ALL
  SELECT $base + 402, 131071 + n, $base + 420 + n, 1, 'default', 'item', 1, 0, 0, 0, now(), now(), now() FROM generate_series(1, 5) n;
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, started_at, finished_at)
  SELECT $base + n, 1, 0, 's0', 's1', 1, $base + n, 1, '{"x": 1}', now(), now()
  FROM generate_series(1, 510) n WHERE n <= 100 OR n BETWEEN 201 AND 220 OR n IN (389, 401, 501);
INSERT INTO rkyc.ready (lane, seq, job_id, step, events)
  SELECT 'default', $base + n, $base + n, 's1', CASE WHEN n <= 220 THEN 1 ELSE 0 END FROM generate_series(201, 300) n;
INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
  SELECT now() - interval '1 hour', 'scheduled', 'default', $base + n, 's0' FROM generate_series(301, 305) n
  UNION ALL SELECT now() + interval '1 hour', 'scheduled', 'default', $base + 601, 's0'
  UNION ALL SELECT now() + interval '1 hour', 'retry_backoff', 'default', $base + 389, 'undo:s0';
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
  SELECT 'fair', 'noop@' || n % 2, 'default', $base + n, 's0', CASE n WHEN 396 THEN timestamptz '2020-01-01 00:00Z' ELSE now() END
  FROM generate_series(396, 400) n;
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
INSERT INTO rkyc.pause (kind, name, paused_by, since, resumed_at)
  VALUES ('lane', 'high', 'kim', now(), NULL), ('pipeline', 'noop', 'kim', now(), now() - interval '1 day');
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, step, since)
  SELECT 'paused', 'job:' || j.uuid, 'default', j.id, 's0', now() FROM rkyc.job j WHERE j.id = $base + 387;
INSERT INTO rkyc.topic VALUES ('rates');
INSERT INTO rkyc.published (topic, payload, at) SELECT 'rates', '{"usd": 1}', now() FROM generate_series(1, 5) n;
INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, branch, step, since)
  SELECT 'map', 'noop@1', 'default', $base + 402, 131076 + n, 'item', now() FROM generate_series(1, 20) n;
INSERT INTO rkyc.map_item (job_id, branch, key, input) SELECT $base + 402, 131071 + n, n::text, to_jsonb(n) FROM generate_series(1, 25) n;
INSERT INTO rkyc.branching VALUES ($base + 401, 3), ($base + 402, 3);
INSERT INTO rkyc.join_point VALUES ($base + 401, 'gather', 0, 2), ($base + 402, 'gather', 0, 25);
INSERT INTO rkyc.event (job_id, seq, type, step, attempt, at) VALUES ($base + 1, 2, 'step.retrying', 's1', 1, now());
INSERT INTO rkyc.history (job_id, state, seq, step, fence, worker_id, open_tasks, finished_at, error_code)
  SELECT $base + n, 'failed', 2, 's1', $base + n, 1, '$task', now(), 'PERMANENT' FROM generate_series(501, 510) n;
INSERT INTO rkyc.dead_letter (id, queue, job_id, step, reason, error_code, at, first_at, expires_at) OVERRIDING SYSTEM VALUE
  SELECT $base + n, 'dlq.default', $base + n, 's1', 'task_failed', 'PERMANENT', now() - interval '1 hour', now(),
    now() - interval '1 day'
  FROM generate_series(501, 510) n;
INSERT INTO rkyc.heartbeat SELECT $base + n, 0, 's1', 1, '1', now() FROM generate_series(1, 20) n;
INSERT INTO rkyc.retention VALUES ('noop', 7, 30, NULL);
INSERT INTO rkyc.ready_mark SELECT now() - n * interval '5 s', n FROM generate_series(1, 2000) n UNION ALL SELECT now() - interval '10 days', 0;
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
INSERT INTO rkyc.idempotency SELECT 'known', j.uuid, '', now() FROM rkyc.job j WHERE j.id = $base + 1;
SELECT setval('rkyc.broadcast_seq', 1000), setval('rkyc.ready_seq', $base + 1000), setval(pg_get_serial_sequence('rkyc.job', 'id'), $base + 1000);
"""
