"""The names of what rkyc logs: one constant per event, `thing.happened`.

A log line is one of these plus fields, never prose. At INFO there is one line for each end of a job
and each failure; moves of a step are DEBUG. Names are a promise to those who search their logs.
"""

from __future__ import annotations

# The process.
WORKER_STARTED = "worker.started"
WORKER_READY = "worker.ready"
WORKER_DRAINING = "worker.draining"
WORKER_STOPPED = "worker.stopped"
LOOP_FAILED = "loop.failed"
LOOP_BLOCKED = "loop.blocked"
THREAD_LEFT = "thread.left"
PAYLOADS_COLLECTED = "payloads.collected"
EXECUTOR_FAILED = "executor.failed"
CLAIM_FAILED = "claim.failed"
LISTEN_SILENT = "listen.silent"

# A job, from its making to its end.
JOB_ENQUEUED = "job.enqueued"
JOB_COMPLETED = "job.completed"
JOB_FAILED = "job.failed"
JOB_CANCELLED = "job.cancelled"
JOB_UNDOING = "job.undoing"
JOB_REFUSED = "job.refused"

# A step's attempts.
STEP_STARTED = "step.started"
STEP_FINISHED = "step.finished"
STEP_RETRYING = "step.retrying"
STEP_FAILED = "step.failed"
STEP_DEGRADED = "step.degraded"
STEP_RELEASED = "step.released"
STEP_CANCELLED = "step.cancelled"
STEP_TIMED_OUT = "step.timed_out"
STEP_LEASE_LOST = "step.lease_lost"
STEP_SUSPECT = "step.suspect"
STEP_POISON = "step.poison"
STEP_RAISED = "step.raised"
STEP_STUBBORN = "step.stubborn"
EXECUTOR_FAILED = "executor.failed"

# Calls to others from inside a step.
CALL_FINISHED = "call.finished"
CALL_REPLAYED = "call.replayed"
CALL_FAILED = "call.failed"
PROVIDER_UNEXPECTED = "provider.unexpected"
BREAKER_OPEN = "breaker.open"
CALL_UNNOTED = "call.unnoted"
PROVIDER_FELL_OVER = "provider.fell_over"

# Claims from and commits to the store.
CLAIM_FAILED = "claim.failed"
COMMIT_UNKNOWN = "commit.unknown"
MOVE_REFUSED = "move.refused"
LIMITS_DELAYED = "limits.delayed"
COMMIT_ROW_REFUSED = "commit.row_refused"
SAVE_FAILED = "save.failed"

# Who lives and who leads.
PRESENCE_LOST = "presence.lost"
PRESENCE_RESTORED = "presence.restored"
LISTEN_SILENT = "listen.silent"
BEAT_LATE = "beat.late"
LEADER_ELECTED = "leader.elected"
LEADER_RESIGNED = "leader.resigned"
WORKER_DIED = "worker.died"
TASK_RECLAIMED = "task.reclaimed"
TASK_PROMOTED = "task.promoted"
TASK_PARKED = "task.parked"
TASK_EXPIRED = "task.expired"

# Schedules.
SCHEDULE_FIRED = "schedule.fired"
SCHEDULE_REFUSED = "schedule.refused"

# What became of jobs that failed.
DEAD_LETTERS_REDRIVEN = "dead_letters.redriven"
DEAD_LETTERS_DROPPED = "dead_letters.dropped"
JOBS_RETIRED = "jobs.retired"

# The database.
STORE_MIGRATED = "store.migrated"
STORE_LOST = "store.lost"
STORE_RESTORED = "store.restored"
HORIZON_HELD = "horizon.held"
HORIZON_FREE = "horizon.free"
EMBEDDED_STARTED = "embedded.started"
EMBEDDED_ADOPTED = "embedded.adopted"
EMBEDDED_RECOVERED = "embedded.recovered"
EMBEDDED_STOPPED = "embedded.stopped"

# Faces.
HTTP_FAILED = "http.failed"
STREAM_OPENED = "stream.opened"
STREAM_CLOSED = "stream.closed"
