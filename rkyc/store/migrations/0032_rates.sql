-- Why: a wait for a rate ends at its time, whatever becomes of places. Takes no lock on anything that exists.

INSERT INTO rkyc.reason VALUES
  ('rate', 'waits for {detail} until {due} ({until}), since {since}', 'nothing: it goes on at its time; a higher rate lets more begin');

DO $$
DECLARE
  said text := pg_get_functiondef('rkyc.why_unheld(uuid)'::regprocedure);
  before text := 'FROM rkyc.reason m WHERE m.name = name OR';
  after text := $q$FROM rkyc.reason m WHERE m.name = CASE WHEN name = 'limit' AND t.key LIKE 'rate/%' THEN 'rate' ELSE name END OR$q$;
BEGIN
  IF position(before IN said) = 0 THEN RAISE EXCEPTION 'rkyc.why_unheld is not the one that is known'; END IF;
  EXECUTE replace(said, before, after);
END $$;
