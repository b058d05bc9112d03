"""`rkyc analyze --only STEP`: the pipeline cut after a step, and that step's output instead of a report.

The cut one is a pipeline of its own, `kyc.until-STEP`, so that no view and no list takes it for a whole
analysis, and no `serve` goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from rkyc.app import App
from rkyc.cli.output import print_json, say
from rkyc.flow import payload
from rkyc.flow.graph import chain, iterate_steps
from rkyc.flow.pipeline import Pipeline
from rkyc.store.queue.jobs import read_outputs


class PartialRun:
    """A run up to the last of some steps of a pipeline; its end prints what they gave.

    Raises:
        DefinitionError: the pipeline has no such step.
    """

    def __init__(self, whole: Pipeline, only: Sequence[str]) -> None:
        last = max(only, key=lambda name: whole.place(name).index)
        steps = list(iterate_steps(whole.steps))
        until = [step.name for step in steps].index(last) + 1
        # The declared shares add up to 100 for the whole pipeline alone.
        kept = [replace(step, share=None) for step in steps[:until]]
        self.pipeline = Pipeline(f"{whole.name}.until-{last}", version=whole.version, steps=chain(*kept))
        self._only = [step.name for step in kept if step.name in only]

    async def finish(self, app: App, job_id: UUID) -> bool:
        """Print the outputs of the named steps as one JSON value; True: the job completed."""
        job = await app.client.get(job_id)
        async with app.pool.connection() as conn:
            stored = await read_outputs(conn, job_id)
        outputs = {step: await app.client.show_payload(text) for step, text in stored.items()}
        is_completed: bool = job["status"] == "completed"
        shown = {
            "job_id": job_id,
            "pipeline": job["pipeline"],
            "status": job["status"],
            "outputs": {name: payload.decode(outputs[name]) for name in self._only if name in outputs},
        }
        if not is_completed:
            shown["error"] = {"code": job["error_code"], "message": job["error_message"]}
        print_json(shown)
        return is_completed

    async def leave(self, app: App, job_id: UUID) -> None:
        """Cancel the job: nothing but the same command could go on with it."""
        await app.client.cancel(job_id, "interrupted")
        say(f"job {job_id} is cancelled")
