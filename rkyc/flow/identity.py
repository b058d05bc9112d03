"""What a step's output depends on beside its input: its version, its prompts, its models.

A step declares `version` and `fingerprint`; a resource that it needs may have a `fingerprint` of its
own (the models behind it). Workers tell these at their start, and a checkpoint's worker tells under
which of them it was made: what changed since is found by comparing, and costs a running step nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from rkyc.flow.pipeline import Pipeline
from rkyc.flow.step import Step


def identify_steps(pipeline: Pipeline, resources: Mapping[type, Any]) -> dict[str, list[str]]:
    """Return what each step of a pipeline declares, by name."""
    return {name: identify_step(place.step, resources) for name, place in pipeline.graph.places.items()}


def identify_step(step: Step, resources: Mapping[type, Any]) -> list[str]:
    """Return a step's identity: equal for two runs whose outputs may stand for one another."""
    parts = [f"{step.task_name}@{step.version}", *step.fingerprint]
    for need in step.needs:
        told = getattr(resources.get(need), "fingerprint", ())
        parts += [f"{need.__name__}:{part}" for part in told]
    return parts


@dataclass(frozen=True, slots=True)
class DoneStep:
    """A completed step of a job; `identity` is None where nobody kept what it was made under."""

    step: str
    is_degraded: bool
    identity: tuple[str, ...] | None


def find_changed(
    done: Iterable[DoneStep],
    now: Mapping[str, Iterable[str]],
    *,
    steps: Set[str],
    is_input_changed: bool,
    redoes_degraded: bool,
) -> dict[str, str]:
    """Return the completed steps whose own outputs no longer stand, each with the reason in one line.

    `now` is what the steps declare today, `steps` those of the pipeline as it is. A step of a map's body is there once
    for each item: one that differs is enough. What never ran is not told here: a route may have gone past it.
    """
    changed: dict[str, str] = {}
    for was in done:
        name = was.step
        if name not in steps or name in changed:
            continue
        today = tuple(now.get(name, ()))
        if is_input_changed:
            changed[name] = "the job's input changed"
        elif was.identity is None:
            changed[name] = "it is not known what it was made under"
        elif was.identity != today:
            gone = ", ".join(part for part in was.identity if part not in today)
            new = ", ".join(part for part in today if part not in was.identity)
            changed[name] = f"{gone or 'nothing'} became {new or 'nothing'}"
        elif redoes_degraded and was.is_degraded:
            changed[name] = "it was degraded"
    return changed
