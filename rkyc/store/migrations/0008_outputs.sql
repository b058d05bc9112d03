-- What a claim returns of a job's completed steps. Takes no lock on anything that exists.

CREATE FUNCTION rkyc.outputs_of(job bigint) RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
  -- Pairs (step, output as text), the last one of a step last. Above 200 MB the answer would fail the claim for
  -- everyone: an empty array fails this job alone.
  SELECT CASE WHEN sum(octet_length(c.output::text)) > 200000000 THEN '{}'
              ELSE array_agg(ARRAY[c.step, coalesce(c.output::text, 'null')] ORDER BY c.seq) END
  FROM rkyc.checkpoint c WHERE c.job_id = job
$$;
