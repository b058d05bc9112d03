"""rkyc: durable LLM pipelines and corporate risk analysis, as one asyncio process and one Postgres.

These are the public names. Each is imported at its first use, so that `import rkyc` takes no time
and a pure module such as `rkyc.flow.states` can be had without the engine. All other errors stand in
`rkyc.errors`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rkyc.engine.client import Client
    from rkyc.errors import PartialFailureException, PermanentException, RetryableException, RkycError
    from rkyc.flow.batch import Batch
    from rkyc.flow.context import StepContext
    from rkyc.flow.graph import chain, chord, group, map_over
    from rkyc.flow.pipeline import Pipeline, Registry
    from rkyc.flow.retry import RetryPolicy, Timeouts
    from rkyc.flow.schedule import Schedule
    from rkyc.flow.step import Step, step
    from rkyc.flow.unique import Unique

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Client",
    "PartialFailureException",
    "PermanentException",
    "Pipeline",
    "Registry",
    "RetryPolicy",
    "RetryableException",
    "RkycError",
    "Schedule",
    "Step",
    "StepContext",
    "Timeouts",
    "Unique",
    "chain",
    "chord",
    "group",
    "map_over",
    "step",
]

_HOMES = {
    "rkyc.engine.client": ("Client",),
    "rkyc.errors": ("PartialFailureException", "PermanentException", "RetryableException", "RkycError"),
    "rkyc.flow.batch": ("Batch",),
    "rkyc.flow.context": ("StepContext",),
    "rkyc.flow.graph": ("chain", "chord", "group", "map_over"),
    "rkyc.flow.pipeline": ("Pipeline", "Registry"),
    "rkyc.flow.retry": ("RetryPolicy", "Timeouts"),
    "rkyc.flow.schedule": ("Schedule",),
    "rkyc.flow.step": ("Step", "step"),
    "rkyc.flow.unique": ("Unique",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(home), name)
            globals()[name] = value  # the next use does not come here
            return value
    raise AttributeError(f"module rkyc has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
