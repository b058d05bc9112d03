-- Who is being undone: for the engine, for people, and for `rkyc.why`. Takes no lock on anything that exists.

-- The tasks of jobs that are being undone. One that runs stands under the compensator at which it was claimed.
CREATE VIEW rkyc.undoing_task AS
  SELECT job_id, branch, step FROM rkyc.ready WHERE step ~ '^undo:'
UNION ALL
  SELECT job_id, branch, step FROM rkyc.running WHERE step ~ '^undo:'
UNION ALL
  SELECT job_id, branch, step FROM rkyc.scheduled WHERE step ~ '^undo:'
UNION ALL
  SELECT job_id, branch, step FROM rkyc.waiting WHERE step ~ '^undo:';

-- Of a job that is being undone: how it ends then, why, and which steps are left, the next one first.
CREATE FUNCTION rkyc.undo_of(of_job bigint) RETURNS TABLE (
  ends_as text, error_code text, error_message text, since timestamptz, steps jsonb, steps_left jsonb
) LANGUAGE sql STABLE AS $$
  SELECT coalesce(b.output ->> 'state', 'failed'), b.output ->> 'error_code', b.output ->> 'error_message', b.finished_at, b.output -> 'steps',
    coalesce((
      SELECT jsonb_agg(s.step ORDER BY s.number) FROM jsonb_array_elements_text(b.output -> 'steps') WITH ORDINALITY s(step, number)
      WHERE NOT EXISTS (SELECT FROM rkyc.checkpoint c WHERE c.job_id = of_job AND c.seq > b.seq AND c.step = 'undo:' || s.step)
    ), '[]')
  FROM rkyc.checkpoint b
  WHERE b.job_id = of_job AND b.step = 'undo:begin' AND EXISTS (SELECT FROM rkyc.undoing_task t WHERE t.job_id = of_job)
  ORDER BY b.seq DESC LIMIT 1
$$;

-- One row per job that is being undone.
CREATE VIEW rkyc.undo_status AS
SELECT j.uuid AS job_id, j.pipeline, u.ends_as, u.error_code, u.error_message, u.since, u.steps, u.steps_left
FROM (SELECT DISTINCT t.job_id FROM rkyc.undoing_task t) t
JOIN rkyc.job j ON j.id = t.job_id
CROSS JOIN LATERAL rkyc.undo_of(j.id) u;

INSERT INTO rkyc.reason VALUES ('undoing', 'what it did is undone first (left: {steps_left}), then it ends {ends_as}{because}',
  'rkyc jobs cancel {job} stops the undoing');

-- Why: where a job stands, and that it is on its way back.
ALTER FUNCTION rkyc.why(uuid) RENAME TO why_forward;
CREATE FUNCTION rkyc.why(job uuid) RETURNS TABLE (reason text, why text, remedy text, facts jsonb) LANGUAGE sql STABLE AS $$
  SELECT w.reason, w.why || CASE WHEN f.facts IS NULL THEN '' ELSE '; ' || rkyc.fill_in(m.why, f.facts) END,
    w.remedy || CASE WHEN f.facts IS NULL THEN '' ELSE '; ' || rkyc.fill_in(m.remedy, f.facts) END, coalesce(f.facts, w.facts)
  FROM rkyc.why_forward(job) w
  JOIN rkyc.reason m ON m.name = 'undoing'
  LEFT JOIN LATERAL (
    SELECT w.facts || jsonb_build_object('ends_as', u.ends_as, 'undo_since', rkyc.say_time(u.since), 'undo_left', u.steps_left,
      'steps_left', coalesce((SELECT string_agg(s, ', ') FROM jsonb_array_elements_text(u.steps_left) s), 'nothing'),
      'because', coalesce(': ' || u.error_message, '')) AS facts
    FROM rkyc.job j CROSS JOIN LATERAL rkyc.undo_of(j.id) u WHERE j.uuid = job
  ) f ON true
$$;
