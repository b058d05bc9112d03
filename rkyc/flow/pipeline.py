"""Pipelines and the registry: what a worker can run.

A pipeline's name, version and step names are a promise to jobs in flight: another graph is another
version. A registry refuses two pipelines of one name and version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pydantic

from rkyc.errors import DefinitionError, UnknownPipelineError, ValidationError
from rkyc.flow.broadcast import Handler, Subscription
from rkyc.flow.compile import compile_graph
from rkyc.flow.graph import Graph, Part, Place, map_steps
from rkyc.flow.lane import LanePolicy
from rkyc.flow.retention import Retention
from rkyc.flow.schedule import Schedule
from rkyc.flow.step import Step, describe
from rkyc.flow.undo import add_undo

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
# (input, outputs by step) -> the same as the newer version has them.
Upcast: TypeAlias = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
STANDARD_LANES = ("high", "default", "low")


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """A named, versioned graph of steps.

    Raises:
        DefinitionError: at definition, when it can't run as written.
    """

    name: str
    version: int
    steps: Part
    title: str = ""
    # How long its jobs are kept after their end; None: as long as the process says.
    retention: Retention | None = None
    # (older, newer version) -> what turns a job's input and outputs by step into the newer version's.
    upcast: Mapping[tuple[int, int], Upcast] = field(default_factory=dict)
    graph: Graph = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"pipeline name {self.name!r} can't be used: expected lower-case letters, digits, _ . -, at most 63"
            )
        if not isinstance(self.version, int) or not 1 <= self.version < 2**31:
            raise DefinitionError(
                f"pipeline {self.name}: version {self.version!r} can't be used: expected a whole number from 1"
            )
        for older, newer in self.upcast:
            if not older < newer <= self.version:
                raise DefinitionError(
                    f"pipeline {self.name}@{self.version}: upcast from {older} to {newer} can't be used: expected an older "
                    f"version, and a newer one up to {self.version}"
                )
        object.__setattr__(self, "graph", compile_graph(self.steps))
        add_undo(self.graph)

    def find_upcasts(self, version: int) -> list[Upcast] | None:
        """Return the up-casters that lead from a version to this one, in their order; None: none do."""
        path: list[Upcast] = []
        while version != self.version:
            reachable = [newer for older, newer in self.upcast if older == version and newer <= self.version]
            if not reachable:
                return None
            newer = max(reachable)
            path.append(self.upcast[version, newer])
            version = newer
        return path

    @property
    def lanes(self) -> set[str]:
        """The lanes that steps of this pipeline declare, and their compensators."""
        return {place.step.lane for place in self.graph.all_places if place.step.lane}

    def place(self, step: str) -> Place:
        """Return the place of a step.

        Raises:
            DefinitionError: no such step in this version.
        """
        try:
            return self.graph.places[step]
        except KeyError:
            raise DefinitionError(
                f"pipeline {self.name}@{self.version} has no step {step!r}: expected one of {', '.join(self.graph.places)}"
            ) from None

    def check_input(self, value: Any) -> None:
        """Check a job's input against the first step's declared type.

        Raises:
            ValidationError: it does not fit.
        """
        for want in self.graph.places[self.graph.first].step.wanted:
            if want.name in ("input", "job") and want.model is not None:
                try:
                    want.model.validate_python(value)
                except pydantic.ValidationError as error:
                    raise ValidationError(
                        f"input of {self.name} has a wrong shape: {describe(error)}"
                    ) from error


class Registry:
    """The pipelines of a process, the schedules that its code declares, and the policies of lanes."""

    def __init__(
        self,
        pipelines: Iterable[Pipeline] = (),
        policies: Iterable[LanePolicy] = (),
        *,
        schedules: Iterable[Schedule] = (),
        subscriptions: Iterable[Subscription] = (),
    ) -> None:
        self._by_key: dict[tuple[str, int], Pipeline] = {}
        self._schedules: dict[str, Schedule] = {}
        # Every process that serves the registry gets each event of these topics.
        self.subscriptions = list(subscriptions)
        self.policies = {policy.lane: policy for policy in policies}
        for pipeline in pipelines:
            self.add(pipeline)
        for schedule in schedules:
            self.add_schedule(schedule)

    def add(self, pipeline: Pipeline) -> None:
        """Add one.

        Raises:
            DefinitionError: name and version are taken.
        """
        key = (pipeline.name, pipeline.version)
        if key in self._by_key:
            raise DefinitionError(
                f"pipeline {pipeline.name}@{pipeline.version} is registered twice: give it another version"
            )
        self._by_key[key] = pipeline

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Have `handler(event)` called for every event of a topic, in every process that serves this registry.

        Events come one after the other in their order, beginning with the newest full refresh. One that the
        handler fails on comes again, and those after it wait.
        """
        self.subscriptions.append(Subscription(topic, handler))

    def add_schedule(self, schedule: Schedule) -> None:
        """Add a schedule; workers make it known when they start.

        Raises:
            DefinitionError: the name is taken, its pipeline is not here, or the input does not fit.
        """
        if schedule.name in self._schedules:
            raise DefinitionError(f"schedule {schedule.name} is registered twice: give it another name")
        if all(pipeline.name != schedule.pipeline for pipeline in self):
            raise DefinitionError(
                f"schedule {schedule.name}: its pipeline {schedule.pipeline!r} is not in the registry: add it first"
            )
        try:
            self.latest(schedule.pipeline).check_input(schedule.input)
        except ValidationError as error:
            raise DefinitionError(f"schedule {schedule.name}: {error}") from error
        self._schedules[schedule.name] = schedule

    @property
    def schedules(self) -> list[Schedule]:
        """The schedules, in the order of their adding."""
        return list(self._schedules.values())

    def merge(self, other: Registry) -> Registry:
        """Return a registry with what both have."""
        policies = [*self.policies.values(), *other.policies.values()]
        return Registry(
            [*self, *other],
            policies,
            schedules=[*self.schedules, *other.schedules],
            subscriptions=[*self.subscriptions, *other.subscriptions],
        )

    def overlay(self, other: Registry) -> Registry:
        """Return a registry with what both have; of what both name, `other` counts."""
        pipelines = {(one.name, one.version): one for one in (*self, *other)}
        schedules = {one.name: one for one in (*self.schedules, *other.schedules)}
        added = [one for one in other.subscriptions if one not in self.subscriptions]
        return Registry(
            pipelines.values(),
            {**self.policies, **other.policies}.values(),
            schedules=schedules.values(),
            subscriptions=[*self.subscriptions, *added],
        )

    def map_steps(self, change: Callable[[Step], Step]) -> Registry:
        """Return a registry whose pipelines have each step as `change` makes it."""
        return Registry(
            (replace(pipeline, steps=map_steps(pipeline.steps, change)) for pipeline in self),
            self.policies.values(),
            schedules=self.schedules,
            subscriptions=self.subscriptions,
        )

    def get(self, name: str, version: int) -> Pipeline | None:
        """Return the pipeline, or None when this process does not serve it."""
        return self._by_key.get((name, version))

    def latest(self, name: str) -> Pipeline:
        """Return the newest version of a pipeline.

        Raises:
            UnknownPipelineError: none of that name.
        """
        versions = [pipeline for pipeline in self if pipeline.name == name]
        if not versions:
            names = ", ".join(sorted({pipeline.name for pipeline in self})) or "none"
            raise UnknownPipelineError(
                f"no pipeline is called {name!r}: expected one of {names}; --app MODULE:REGISTRY adds yours"
            )
        return max(versions, key=lambda pipeline: pipeline.version)

    @property
    def lanes(self) -> list[str]:
        """The three standard lanes, then those that steps declare."""
        declared = set(self.policies).union(*(pipeline.lanes for pipeline in self)) - set(STANDARD_LANES)
        return [*STANDARD_LANES, *sorted(declared)]

    def __iter__(self) -> Iterator[Pipeline]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)
