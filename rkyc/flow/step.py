"""What a step is: a function from input to output, with a declared policy.

An `async def` runs on the loop; a `def` in a thread, or in a child process, as declared.

`@step` reads the function once, at definition: which outputs it wants (by parameter names), which
types it takes and gives. A step knows nothing of queues. It may run twice; `save` runs once, inside
the transaction that commits the checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, overload
from uuid import UUID

import pydantic

from rkyc.errors import DefinitionError, OutputInvalidError, ValidationError
from rkyc.flow.batch import Batch, item_hint
from rkyc.flow.limits import Limit, make_limits
from rkyc.flow.retry import UNDECLARED_RETRY, UNDECLARED_TIMEOUTS, RetryPolicy, Timeouts

StepFunction: TypeAlias = Callable[..., Awaitable[Any]]
# As a user writes it: async, or plain.
AnyFunction: TypeAlias = Callable[..., Any]
RunIn: TypeAlias = Literal["thread", "process"]
SaveFunction: TypeAlias = Callable[[Any, Any], Awaitable[None]]
CarryFunction: TypeAlias = Callable[[Any, UUID, UUID], Awaitable[None]]

STEP_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,62}")
# What a lane may be called; high, default and low are always there.
LANE_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """One parameter of a step: the name it is passed by, and the type it is checked against."""

    name: str
    model: pydantic.TypeAdapter[Any] | None
    hint: Any = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A function with its policy. `@step` makes one; `named` gives the same step another name."""

    name: str
    fn: StepFunction
    retry: RetryPolicy
    timeouts: Timeouts
    lane: str | None
    limits: tuple[Limit, ...]
    needs: tuple[type, ...]
    save: SaveFunction | None
    optional: bool
    share: float | None
    concurrency: int | None
    wanted: tuple[Wanted, ...]
    output: Wanted
    task_name: str
    # The plain function that `fn` calls in a thread or in a child process.
    blocking: AnyFunction | None = None
    version: int = 1
    fingerprint: tuple[str, ...] = ()
    carry: CarryFunction | None = None
    batch: Batch | None = None
    compensate: Step | None = None

    def __post_init__(self) -> None:
        # Names may be given, here and in `with_policy`.
        object.__setattr__(self, "limits", make_limits(self.limits))
        if self.batch is not None and (self.limits or self.timeouts.is_watched):
            raise DefinitionError(f"batch step {self.name}: it takes no limits and no watched timeouts")
        if self.concurrency is not None and self.concurrency < 1:
            raise DefinitionError(
                f"step {self.name}: concurrency {self.concurrency} lets nothing run: expected 1 or more, or None"
            )

    def named(self, name: str) -> Step:
        """Return the same step under another name, for a second place in a pipeline."""
        return dataclasses.replace(self, name=check_name(name))

    def with_defaults(self, retry: RetryPolicy, timeouts: Timeouts) -> Step:
        """Return the step with these in place of what it does not declare itself."""
        changes: dict[str, Any] = {}
        if self.retry is UNDECLARED_RETRY:
            changes["retry"] = retry
        if self.timeouts is UNDECLARED_TIMEOUTS:
            # A batch step shares its call with others: no watch over one of them.
            changes["timeouts"] = timeouts if self.batch is None else dataclasses.replace(timeouts, soft=None)
        if self.compensate is not None:
            changes["compensate"] = self.compensate.with_defaults(retry, timeouts)
        return dataclasses.replace(self, **changes) if changes else self

    def with_policy(self, **changes: Any) -> Step:
        """Return the step with other `retry`, `timeouts`, `limits`, `lane` or `concurrency`."""
        return dataclasses.replace(self, **changes)

    def check_output(self, output: Any) -> Any:
        """Return the output as its declared type.

        Raises:
            OutputInvalidError: the function returned something else than it declared.
        """
        if self.output.model is None:
            return output
        try:
            return self.output.model.validator.validate_python(output)
        except pydantic.ValidationError as error:
            raise OutputInvalidError(f"step {self.name} returned a wrong shape: {describe(error)}") from error

    def read_arguments(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Validate what the step takes; `outputs` holds `input`, `job` and earlier outputs by step name.

        The values come out of JSON, so that an object needs no look at its keys.

        Raises:
            ValidationError: a value has not the declared shape; permanent.
        """
        arguments = {}
        for want in self.wanted:
            value = outputs[want.name]
            if want.model is not None and not (want.model is _DICT and type(value) is dict):
                try:
                    value = want.model.validator.validate_python(value)
                except pydantic.ValidationError as error:
                    raise ValidationError(
                        f"step {self.name}: {want.name} has a wrong shape: {describe(error)}"
                    ) from error
            arguments[want.name] = value
        return arguments


def describe(error: pydantic.ValidationError) -> str:
    """Say in one line what did not fit, by place, without the values."""
    parts = [
        f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}"
        for e in error.errors(include_input=False)[:5]
    ]
    more = error.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def check_name(name: str) -> str:
    """Return the name if a step may be called so.

    Raises:
        DefinitionError: other characters, too long, or a reserved word.
    """
    if not STEP_NAME.fullmatch(name) or name in ("input", "job", "ctx"):
        raise DefinitionError(
            f"step name {name!r} can't be used: expected lower-case letters, digits, _ . -, at most 63, and not input, job or ctx"
        )
    return name


@overload
def step(fn: AnyFunction, /) -> Step: ...
@overload
def step(
    *,
    name: str | None = ...,
    lane: str | None = ...,
    retry: RetryPolicy = ...,
    timeouts: Timeouts = ...,
    limits: Iterable[str | Limit] = ...,
    needs: Iterable[type] = ...,
    save: SaveFunction | None = ...,
    optional: bool = ...,
    share: float | None = ...,
    concurrency: int | None = ...,
    task_name: str | None = ...,
    run_in: RunIn | None = ...,
    version: int = ...,
    fingerprint: Iterable[str] = ...,
    carry: CarryFunction | None = ...,
    batch: Batch | None = ...,
    compensate: Step | AnyFunction | None = ...,
) -> Callable[[AnyFunction], Step]: ...
def step(
    fn: AnyFunction | None = None,
    /,
    *,
    name: str | None = None,
    lane: str | None = None,
    retry: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    limits: Iterable[str | Limit] = (),
    needs: Iterable[type] = (),
    save: SaveFunction | None = None,
    optional: bool = False,
    share: float | None = None,
    concurrency: int | None = None,
    task_name: str | None = None,
    run_in: RunIn | None = None,
    version: int = 1,
    fingerprint: Iterable[str] = (),
    carry: CarryFunction | None = None,
    batch: Batch | None = None,
    compensate: Step | AnyFunction | None = None,
) -> Step | Callable[[AnyFunction], Step]:
    """Make a step of a function `(ctx, input, …) -> output`.

    `lane`: run on workers of that lane. `limits`: named resources, or `Limit`s, bounded together with all
    steps that name them, in the whole fleet. `concurrency`: at most so many of this step at once in a process.
    `needs`: types that `ctx.use` may ask for. `save(conn, output)`: rows that land exactly once.
    `optional`: a permanent failure degrades the job instead of failing it. `share`: the step's
    part of the progress bar, in points; equal parts without it. `run_in`: where a plain `def` runs: in a
    `thread` (the default; it can't be stopped, only left behind) or in a child `process` (it is killed).
    `version` and `fingerprint` (prompt ids, models): `rkyc rerun --changed` runs the step again when they
    differ. `carry(conn, source_job_id, job_id)`: copies what `save` wrote to a job that is forked behind it.
    `batch`: the function is called as `(ctx, inputs)` for many tasks at once and returns a list with an answer, or
    an error, for each. `compensate(ctx, output)`: undoes a completed step before the
    job ends failed, cancelled or expired; a step itself where it needs a policy of its own.

    Raises:
        DefinitionError: the function can't be a step; says why.
    """

    def make(function: AnyFunction) -> Step:
        wanted, output = _read_signature(function) if batch is None else _read_batch(function)
        _check_place(function, run_in)
        _check_lane(lane)
        blocking = None if inspect.iscoroutinefunction(function) else function
        return Step(
            name=check_name(name or function.__name__),
            fn=function if blocking is None else _make_async(blocking, run_in or "thread"),
            retry=retry or UNDECLARED_RETRY,
            timeouts=timeouts or UNDECLARED_TIMEOUTS,
            lane=lane,
            limits=make_limits(limits),
            needs=tuple(needs),
            save=save,
            optional=optional,
            share=share,
            concurrency=concurrency,
            wanted=wanted,
            output=output,
            task_name=task_name or function.__name__,
            blocking=blocking,
            version=version,
            fingerprint=tuple(fingerprint),
            carry=carry,
            batch=batch,
            compensate=_as_compensator(compensate),
        )

    return make(fn) if fn is not None else make


def _check_lane(lane: str | None) -> None:
    if lane is not None and not LANE_NAME.fullmatch(lane):
        raise DefinitionError(
            f"lane {lane!r} can't be used: expected lower-case letters, digits, _ . -, at most 63"
        )


def _as_compensator(given: Step | AnyFunction | None) -> Step | None:
    if given is not None and not isinstance(given, Step):
        given = step(name=getattr(given, "__name__", "compensate").lstrip("_"))(given)
    if given is not None and (given.batch is not None or len(given.wanted) > 1):
        raise DefinitionError(
            f"compensator {given.name} can't be called: expected `async def {given.name}(ctx, output)`, without batch"
        )
    return given


def _read_signature(function: AnyFunction) -> tuple[tuple[Wanted, ...], Wanted]:
    label = getattr(function, "__qualname__", repr(function))
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise DefinitionError(f"step {label} takes no ctx: expected `{label}(ctx, input, …)`")
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DefinitionError(f"step {label} has *{parameter.name}: name each earlier step that it wants")
    hints = typing.get_type_hints(function)
    wanted = tuple(Wanted(p.name, _model_of(hints.get(p.name)), hints.get(p.name)) for p in parameters[1:])
    return wanted, Wanted("return", _model_of(hints.get("return")), hints.get("return"))


def _read_batch(function: AnyFunction) -> tuple[tuple[Wanted, ...], Wanted]:
    """Return what a batch step takes and gives for a single task."""
    label = getattr(function, "__qualname__", repr(function))
    parameters = list(inspect.signature(function).parameters)
    if not inspect.iscoroutinefunction(function) or parameters[1:] != ["inputs"]:
        raise DefinitionError(
            f"batch step {label}: expected `async def {label}(ctx, inputs: list[…]) -> list[…]`"
        )
    hints = typing.get_type_hints(function)
    taken, given = item_hint(hints.get("inputs")), item_hint(hints.get("return"))
    return (Wanted("input", _model_of(taken), taken),), Wanted("return", _model_of(given), given)


def _check_place(function: AnyFunction, run_in: str | None) -> None:
    """Refuse a function that can't run where it is said to."""
    label = getattr(function, "__qualname__", repr(function))
    if (
        not inspect.isfunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise DefinitionError(
            f"step {label} is no plain function: expected `async def` or `def`, with a return"
        )
    if run_in not in (None, "thread", "process"):
        raise DefinitionError(f"step {label}: run_in={run_in!r} is not known: expected 'thread' or 'process'")
    if run_in is not None and inspect.iscoroutinefunction(function):
        raise DefinitionError(f"step {label} is `async def` and runs on the loop: run_in is for `def` steps")
    if run_in == "process" and ("<locals>" in label or function.__module__ == "__main__"):
        raise DefinitionError(
            f"step {label} can't be found by a child process: define it at the top of a module that can be imported"
        )


def _make_async(function: AnyFunction, run_in: RunIn) -> StepFunction:
    """Return what the engine awaits in place of a plain function; the context knows how to run it."""

    @functools.wraps(function)
    async def run(ctx: Any, **arguments: Any) -> Any:
        return await ctx.run_blocking(function, arguments, run_in)

    return run


def _model_of(hint: Any) -> pydantic.TypeAdapter[Any] | None:
    """Return a validator where there is something to check: a plain dict stays on the fast path."""
    if hint in (None, type(None), Any, inspect.Parameter.empty):
        return None
    origin = typing.get_origin(hint) or hint
    if origin is dict and typing.get_args(hint) in ((), (str, Any)):
        return _DICT
    return pydantic.TypeAdapter(hint)


_DICT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(dict[str, Any])
