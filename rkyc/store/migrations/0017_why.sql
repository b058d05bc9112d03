-- Why a job does not run, in one line, and what would make it run. Takes no lock on anything that exists.

-- Every reason as data: {name} is filled in from the facts. A new kind of wait brings its row here.
CREATE TABLE rkyc.reason (
  name text PRIMARY KEY,
  why text NOT NULL,
  remedy text NOT NULL
);
INSERT INTO rkyc.reason VALUES
  ('completed', 'completed at {at}', 'nothing: its result is there'),
  ('partial', 'completed in part at {at}', 'its warnings say what is missing: rkyc jobs show {job}'),
  ('failed', 'failed in step {step} at {at}, {error_class} after {attempts} attempt(s): {error}',
   'mend the cause; rkyc jobs retry {job} starts it again at that step'),
  ('cancelled', 'cancelled at {at} in step {step}: {message}', 'rkyc jobs retry {job} starts it again at that step'),
  ('running', 'runs: step {step} on {worker} since {since}, attempt {attempt}', 'nothing: it runs'),
  ('worker_lost', 'step {step} was on {worker}, whose presence is gone; its last beat was at {beat}',
   'another worker takes it over within seconds; without one: rkyc serve'),
  ('moving', 'between two of its places at this very moment', 'look again'),
  ('queued', 'ready in lane {lane} with {ahead} task(s) before it', 'nothing: a worker takes it at its next look, within seconds'),
  ('lane_unserved', 'lane {lane} is served by no live worker', 'start one: rkyc serve --lanes {lane}'),
  ('slots_busy', 'all {slots} slots of the {workers} worker(s) of lane {lane} are busy, and {ahead} task(s) are before it',
   'it starts when they are done; another process (rkyc serve) or more --slots start it sooner'),
  ('scheduled', 'starts at {due} ({until}), as it was enqueued', 'nothing: it starts by itself'),
  ('retry_backoff', 'attempt {attempts} of step {step} failed ({error}); the next one is at {due} ({until})',
   'nothing: it is tried again by itself'),
  ('sleep', 'step {step} sleeps until {due} ({until})', 'nothing: it goes on by itself'),
  ('no_worker', 'no live worker serves pipeline {pipeline}, since {since}', 'start one that does: rkyc serve --app MODULE:REGISTRY'),
  ('version_blocked', 'no live worker serves version {version} of pipeline {pipeline}, since {since}; the newest one is {newest}',
   'keep a worker with version {version} until its jobs are done'),
  ('suspect', 'step {step} was there when {crashes} processes died, and runs only alone in a process set aside',
   'rkyc serve sets one aside as soon as it can; after three crashes alone it is buried'),
  ('signal', 'waits for signal {key} since {since}{limit}', 'send it: rkyc jobs signal {job} {key}'),
  ('event', 'waits for event {key} since {since}{limit}', 'publish it'),
  ('child', 'waits for a child job since {since}: {detail}', 'see why that one does not end: rkyc jobs why CHILD'),
  ('limit', 'limit {key} is taken{places}, since {since}', 'it goes on when a place is free; a larger limit lets more run'),
  ('paused', 'paused since {since}: {detail}', 'rkyc jobs resume {job}, or resume what was paused: its lane, pipeline or tenant'),
  ('budget', 'its budget is spent, since {since}: {detail}', 'resume it with more: rkyc jobs resume {job} --budget USD'),
  ('map', 'waits for a place among the items of its map since {since}: {detail}', 'it goes on when an item before it is done'),
  ('batch', 'gathered for a batch since {since}{limit}: {detail}', 'nothing: the batch goes when it is full or due'),
  ('turn', 'waits for its turn since {since}: {detail}', 'nothing: others of its key are before it'),
  ('other', 'waits ({kind}) for {key} since {since}{limit}', 'see the documentation of that wait');

-- A length of time in one unit, for people.
CREATE FUNCTION rkyc.say_span(span interval) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN s < 100 THEN round(s) || ' s' WHEN s < 6000 THEN round(s / 60) || ' min'
              WHEN s < 172800 THEN round(s / 3600) || ' h' ELSE round(s / 86400) || ' d' END
  FROM (SELECT abs(extract(epoch FROM span)) AS s) x
$$;

CREATE FUNCTION rkyc.say_time(at timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

-- Fill a text's {names} in from facts; one that is missing becomes nothing.
CREATE FUNCTION rkyc.fill_in(template text, facts jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  said text := '';
  part text[];
BEGIN
  -- Part by part: a fact that holds braces is not filled in again.
  FOR part IN SELECT regexp_matches(template, '([^{]*)(?:\{(\w+)\})?', 'g') LOOP
    said := said || part[1] || coalesce(facts ->> part[2], '');
  END LOOP;
  RETURN said;
END $$;

CREATE FUNCTION rkyc.why(job uuid) RETURNS TABLE (reason text, why text, remedy text, facts jsonb) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
DECLARE
  at timestamptz := clock_timestamp();
  j rkyc.job;
  h rkyc.history;
  r record;
  t record;
  name text;
  known jsonb;
  fleet record;
BEGIN
  SELECT * INTO j FROM rkyc.job WHERE uuid = job;
  IF j.id IS NULL THEN
    RETURN;
  END IF;
  known := jsonb_build_object('job', job, 'pipeline', j.pipeline, 'version', j.version, 'lane', j.lane);
  SELECT * INTO h FROM rkyc.history WHERE job_id = j.id;
  SELECT x.*, k.name AS worker, k.beat_at,
    k.presence_at IS NULL OR EXISTS (
      SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = 'rkyc worker ' || k.id) AS is_present
  INTO r FROM rkyc.running_task x LEFT JOIN rkyc.worker k ON k.id = x.worker_id WHERE x.job_id = j.id ORDER BY x.branch LIMIT 1;
  -- Of several branches the first: which of them is as good a question as another.
  SELECT * INTO t FROM (
    SELECT 'queued' AS kind, q.branch, q.lane, q.step, q.seq, q.error_attempts, q.crash_attempts, NULL::text AS key, NULL::timestamptz AS due_at,
      NULL::timestamptz AS since, NULL::text AS detail, NULL::text AS error FROM rkyc.ready q WHERE q.job_id = j.id
    UNION ALL SELECT s.reason, s.branch, s.lane, s.step, NULL, s.error_attempts, s.crash_attempts, NULL, s.due_at, NULL, NULL,
      concat_ws(' ', s.error_code, s.error_message) FROM rkyc.scheduled s WHERE s.job_id = j.id
    UNION ALL SELECT w.kind, w.branch, w.lane, w.step, NULL, w.error_attempts, w.crash_attempts, w.wake_key, w.due_at, w.since, w.detail, NULL
      FROM rkyc.waiting w WHERE w.job_id = j.id
  ) x ORDER BY x.branch LIMIT 1;

  IF h.job_id IS NOT NULL THEN
    name := CASE WHEN h.state = 'completed' AND (h.degraded OR EXISTS (
        SELECT FROM rkyc.checkpoint c WHERE c.job_id = j.id AND c.degraded)) THEN 'partial' ELSE h.state::text END;
    known := known || jsonb_build_object('at', rkyc.say_time(h.finished_at), 'step', h.step, 'error_class', h.error_class,
      'attempts', greatest(h.attempt, 1), 'error', concat_ws(' ', h.error_code, h.error_message), 'error_code', h.error_code,
      'details', h.error_details, 'message', coalesce(h.error_message, 'by a person'));
  ELSIF r.job_id IS NOT NULL THEN
    name := CASE WHEN r.is_present THEN 'running' ELSE 'worker_lost' END;
    known := known || jsonb_build_object('step', r.step, 'worker', r.worker, 'attempt', r.attempt, 'lane', r.lane,
      'since', rkyc.say_time(r.step_started_at), 'beat', rkyc.say_time(r.beat_at));
  ELSIF t.kind IS NULL THEN
    name := 'moving';
  ELSE
    name := t.kind;
    known := known || jsonb_build_object('kind', t.kind, 'step', t.step, 'lane', t.lane, 'key', t.key, 'crashes', t.crash_attempts,
      'attempts', t.error_attempts + t.crash_attempts, 'error', t.error, 'detail', coalesce(t.detail, t.key), 'due', rkyc.say_time(t.due_at),
      'until', CASE WHEN t.due_at > at THEN 'in ' || rkyc.say_span(t.due_at - at) ELSE 'now' END,
      'limit', ', until ' || rkyc.say_time(t.due_at) || ' at most', 'since', rkyc.say_time(t.since));
    IF t.kind = 'queued' THEN
      SELECT count(*)::int AS workers, coalesce(sum(k.slots), 0)::int AS slots, coalesce(sum(k.busy), 0)::int AS busy INTO fleet
      FROM rkyc.worker k
      WHERE k.ended_at IS NULL AND NOT k.for_suspects AND k.lanes @> ARRAY[t.lane] AND k.beat_at > at - interval '120 s'
        AND (k.presence_at IS NULL OR EXISTS (
          SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = 'rkyc worker ' || k.id));
      name := CASE WHEN fleet.workers = 0 THEN 'lane_unserved' WHEN fleet.busy >= fleet.slots THEN 'slots_busy' ELSE 'queued' END;
      known := known || to_jsonb(fleet) || (
        -- Counted up to a bound: a backlog may be millions long.
        SELECT jsonb_build_object('ahead', CASE WHEN count(*) > 1000 THEN 'more than 1000' ELSE count(*)::text END)
        FROM (SELECT FROM rkyc.ready q WHERE q.lane = t.lane AND q.seq < t.seq LIMIT 1001) x);
    ELSIF t.kind = 'limit' AND to_regclass('rkyc.limit_slot') IS NOT NULL THEN
      known := known || (
        SELECT jsonb_build_object('places', ' (' || count(s.job_id) || '/' || max(l.size) || ')')
        FROM rkyc.limit_slot s JOIN rkyc.limit_rule l ON l.name = s.name WHERE s.scope = t.key);
    ELSIF t.kind = 'version_blocked' THEN
      known := known || (SELECT jsonb_build_object('newest', max(v.version)) FROM rkyc.pipeline_version v WHERE v.name = j.pipeline);
    END IF;
  END IF;
  IF h.job_id IS NULL AND j.deadline_at IS NOT NULL THEN
    known := known || jsonb_build_object('deadline', rkyc.say_time(j.deadline_at));
  END IF;
  RETURN QUERY
  SELECT coalesce(m.name, name), rkyc.fill_in(m.why, known) || coalesce('; its deadline is ' || (known ->> 'deadline'), ''),
    rkyc.fill_in(m.remedy, known), known
  FROM rkyc.reason m WHERE m.name = name OR (m.name = 'other' AND NOT EXISTS (SELECT FROM rkyc.reason n WHERE n.name = name));
END $$;
