"""`rkyc graph PIPELINE`: the steps of a pipeline as text, with their tasks; needs no database.

1  fetch         fetch_contract
   ├─  2  summarise     summarise
   └─  3  find_clauses  find_clauses
4  merge         merge_findings  waits for 2

A map's body stands inside the step that gives its list, a route's parts inside the step that chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from rkyc.app import load_registry
from rkyc.cli.options import AppOption, JsonOption, make_program
from rkyc.cli.output import print_json, print_table
from rkyc.flow.graph import Graph, Place
from rkyc.flow.pipeline import Pipeline

program = make_program()


@program.command()
def graph(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE")],
    executors: Annotated[
        bool, typer.Option("--executors", help="Show each step's task, function and policy.")
    ] = False,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Draw the steps of a pipeline in the order in which they run."""
    found = load_registry(app or ()).latest(pipeline)
    if json:
        print_json({"name": found.name, "version": found.version, **found.graph.describe()})
        return
    title = f" · {found.title}" if found.title else ""
    print(f"{found.name}@{found.version}{title} · {len(found.graph.places)} steps\n")
    if executors:
        _print_executors(found)
    else:
        for line in draw(found.graph):
            print(line)


def draw(graph: Graph) -> Iterator[str]:
    """Yield the drawing, one line per place."""
    width = max(len(name) for name in graph.places)
    yield from _draw_branch(graph, width, graph.first, "", "")


def _draw_branch(
    graph: Graph, width: int, first: str, lead: str, indent: str, note: str = ""
) -> Iterator[str]:
    """Draw a branch down to its end, and inside it what it forks or chooses from; lead and note are its first line's."""
    name: str | None = first
    while name is not None:
        place = graph.places[name]
        yield lead + _describe(place, width) + note
        lead, note = indent, ""
        inside = _list_inside(place)
        for number, (member_note, member) in enumerate(inside, 1):
            branch = indent + "    "
            is_last = number == len(inside)
            yield from _draw_branch(
                graph,
                width,
                member,
                branch + ("└─ " if is_last else "├─ "),
                branch + ("   " if is_last else "│  "),
                member_note,
            )
        name = _find_next(graph, place)
        if name is not None and len(graph.places[name].gates) < len(graph.places[first].gates):
            # Behind the arms: drawn where the route stands.
            return


def _list_inside(place: Place) -> list[tuple[str, str]]:
    """Return (note, first place) of what is drawn inside: members of a fork, a map's body, a route's arms."""
    if place.each is not None:
        each = place.each
        return [(f"  for each{f' of {each.over}' if each.over else ''}, {each.at_once} at once", each.first)]
    default = [("  if none of them", place.default)] if place.default is not None else []
    return (
        [("", member) for member in place.fork]
        + [(f"  if {key}", arm) for key, arm in place.arms.items()]
        + default
    )


def _describe(place: Place, width: int) -> str:
    notes = [place.step.task_name]
    if place.step.lane:
        notes.append(f"lane {place.step.lane}")
    if place.waits_for:
        notes.append(f"waits for {place.waits_for}")
    if place.collects:
        notes.append("waits for all items")
    if place.arms:
        notes.append(f"chooses by {place.by}" if place.by else "chooses")
    if place.step.optional or place.escape is not None:
        notes.append("optional")
    return f"{place.index + 1:>2}  {place.name:<{width}}  {'  '.join(notes)}"


def _find_next(graph: Graph, place: Place) -> str | None:
    """Return what follows on the same branch: the next place, or where branches or arms come together."""
    if place.arms:
        return _find_merge(graph, next(iter(place.arms.values())))
    return place.meets or place.next


def _find_merge(graph: Graph, arm: str) -> str | None:
    """Return the first place behind an arm that the route does not decide on."""
    depth = len(graph.places[arm].gates)
    name: str | None = arm
    while name is not None and len(graph.places[name].gates) >= depth:
        name = _find_next(graph, graph.places[name])
    return name


def _print_executors(pipeline: Pipeline) -> None:
    columns = ("", "step", "task", "function", "tries", "limit", "share", "lane", "needs", "limits")
    print_table(
        columns,
        (
            [
                place.index + 1,
                place.name,
                place.step.task_name,
                f"{place.step.fn.__module__}.{place.step.fn.__qualname__}",
                place.step.retry.max_attempts,
                f"{place.step.timeouts.start_to_close:g} s" if place.step.timeouts.start_to_close else "",
                f"{place.share:g} %",
                place.step.lane or "",
                ", ".join(need.__name__ for need in place.step.needs),
                ", ".join(limit.name for limit in place.step.limits),
            ]
            for place in pipeline.graph.places.values()
        ),
    )
