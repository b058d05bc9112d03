-- What is said of an ended job whose deadline has passed. Takes no lock on anything that exists.

-- Why: such a job would fail at once if it were started again; what is left of an undoing runs past the deadline.
INSERT INTO rkyc.reason VALUES
  ('deadline_passed', 'its deadline has passed', 'its deadline has passed: rkyc jobs fork {job} --from {step} makes a job of it that has none');

DO $$
DECLARE
  said text := pg_get_functiondef('rkyc.why_unheld(uuid)'::regprocedure);
  before text := 'rkyc.fill_in(m.remedy, known), known';
  after text := $q$rkyc.fill_in(CASE
      WHEN h.state IN ('failed', 'cancelled') AND j.deadline_at <= at AND coalesce(h.open_tasks::text, '') !~ '"undo:'
      THEN (SELECT p.remedy FROM rkyc.reason p WHERE p.name = 'deadline_passed') ELSE m.remedy END, known), known$q$;
BEGIN
  IF position(before IN said) = 0 THEN RAISE EXCEPTION 'rkyc.why_unheld is not the one that is known'; END IF;
  EXECUTE replace(said, before, after);
END $$;
