"""What steps ask for against what is there: names of earlier steps, declared types, a route's keys.

Two models that are strangers are refused at definition; dict, Any and unions are checked at run time.
What a map's items give is one list outside the map; what a route may skip may be None.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import dataclass
from typing import Any

import pydantic

from rkyc.errors import DefinitionError
from rkyc.flow.graph import Graph, Place, key_text, list_key
from rkyc.flow.step import Wanted


@dataclass(frozen=True, slots=True)
class _Known:
    """The steps before a place: those that may have run, those that must have, and the maps whose results some names are."""

    possible: frozenset[str]
    certain: frozenset[str]
    lists: dict[str, int]


def check_wanted(graph: Graph) -> None:
    """Check that each step asks for what exists before it, of a type that fits; note what comes from across a map's bounds.

    Raises:
        DefinitionError
    """
    known: dict[str, _Known] = {}
    sources = {place.each.branch: place for place in graph.places.values() if place.each is not None}
    firsts = {branch: graph.places[each.first] for branch, place in sources.items() if (each := place.each)}
    job_hint: Any = None
    for place in graph.places.values():
        seen = known[place.name] = _look_back(graph, place, known, sources)
        for want in place.step.wanted:
            if want.name == "job" or (want.name == "input" and not place.before):
                job_hint = job_hint or want.hint
                _check_fit(place.name, want.name, "the job's input", job_hint, want.hint)
            elif want.name == "input":
                _check_input(graph, place, want, sources)
            else:
                _check_earlier(graph, place, want, seen)
                if want.name in seen.lists:
                    place.lists = {**place.lists, want.name: list_key(seen.lists[want.name])}
                if place.map and graph.places[want.name].map != place.map:
                    first = firsts[place.map]
                    first.borrows = tuple(
                        dict.fromkeys((*first.borrows, place.lists.get(want.name, want.name)))
                    )
        if place.arms:
            _check_keys(place)
    for place in graph.places.values():
        if place.map:
            first = firsts[place.map]
            # Read once per item, at its claim.
            place.borrows, place.item_lane = first.borrows, first.step.lane


def _look_back(graph: Graph, place: Place, known: dict[str, _Known], sources: dict[int, Place]) -> _Known:
    if place.collects:
        source = sources[place.collects]
        before = known[source.name]
        # From outside, a map's items are one list under the name of the body's last step.
        last = set(place.before) if len(place.before) == 1 else set()
        return _Known(
            before.possible | {source.name} | last,
            before.certain | {source.name} | last,
            before.lists | dict.fromkeys(last, place.collects),
        )
    possible: frozenset[str] = frozenset(place.before)
    certain: frozenset[str] = frozenset()
    lists: dict[str, int] = {}
    for slot in place.slots:
        possible = possible.union(*(known[name].possible for name in slot))
        certain |= frozenset.intersection(*(known[name].certain | {name} for name in slot))
        for name in slot:
            lists |= known[name].lists
    return _Known(possible, certain, lists)


def _check_earlier(graph: Graph, place: Place, want: Wanted, seen: _Known) -> None:
    if want.name not in seen.possible:
        raise DefinitionError(
            f"step {place.name} asks for {want.name!r}: expected input, job, or an earlier step "
            f"({', '.join(sorted(seen.possible)) or 'none'})"
        )
    given = graph.places[want.name].step.output.hint
    if want.name in seen.lists:
        _check_list(place.name, want, want.name, given)
    else:
        _check_fit(place.name, want.name, want.name, given, want.hint)
    if want.name not in seen.certain and not _takes_none(want):
        raise DefinitionError(
            f"step {place.name} asks for {want.name}, which a route may skip: let it take None too, "
            f"{want.name}: … | None"
        )


def _takes_none(want: Wanted) -> bool:
    if want.model is None:
        return True
    try:
        want.model.validate_python(None)
    except pydantic.ValidationError:
        return False
    return True


def _check_input(graph: Graph, place: Place, want: Wanted, sources: dict[int, Place]) -> None:
    """Check the parameter `input`; that of a step behind a group is a dict, and checked at run time."""
    if place.waits_for:
        return
    for name in place.before:
        given = graph.places[name].step.output.hint
        if place.collects:
            _check_list(place.name, want, name, given)
        elif place.starts_item:
            _check_element(sources[place.map], place, want)
        else:
            _check_fit(place.name, "input", name, given, want.hint)


def _check_list(taker: str, want: Wanted, giver: str, given: Any) -> None:
    if _is_model(want.hint) or typing.get_origin(want.hint) is dict or want.hint is dict:
        raise DefinitionError(
            f"step {taker} takes {want.name}: {_shown(want.hint)}, but map_over gives the list of what {giver} returned: "
            "expected a list"
        )
    if typing.get_origin(want.hint) is list:
        _check_fit(taker, f"{want.name}: a list", f"each {giver}", given, typing.get_args(want.hint)[0])


def _check_element(source: Place, place: Place, want: Wanted) -> None:
    """Check what a map's first step takes against the elements of the list that it is started for."""
    assert source.each is not None
    given, over = source.step.output.hint, source.each.over
    if over is not None and _is_model(given):
        if over not in given.model_fields:
            raise DefinitionError(
                f"map_over {place.name} runs over {over!r}, but {source.name} gives {given.__name__}: "
                f"expected one of its fields, {', '.join(given.model_fields)}"
            )
        given = given.model_fields[over].annotation
    elif over is not None:
        return
    if _is_model(given) or given is dict or typing.get_origin(given) is dict:
        raise DefinitionError(
            f"map_over {place.name} needs a list, but {source.name} gives {_shown(given)}: "
            "name the field that holds the list, map_over(…, over='field')"
        )
    if typing.get_origin(given) is list:
        _check_fit(place.name, "input", f"each of {source.name}", typing.get_args(given)[0], want.hint)


def _check_keys(place: Place) -> None:
    """Check a route's keys against what the step that decides may give, where it declares that."""
    hint = place.step.output.hint
    if place.by is not None and _is_model(hint):
        if place.by not in hint.model_fields:
            raise DefinitionError(
                f"route after {place.name} goes by {place.by!r}, but the step gives {hint.__name__}: "
                f"expected one of its fields, {', '.join(hint.model_fields)}"
            )
        hint = hint.model_fields[place.by].annotation
    elif place.by is not None:
        return
    elif _is_model(hint) or hint is dict or typing.get_origin(hint) is dict:
        raise DefinitionError(
            f"route after {place.name} needs a key, but the step gives {_shown(hint)}: name the field that holds it, route(…, by='field')"
        )
    allowed = _keys_of(hint)
    if allowed is None:
        return
    if strange := [key for key in place.arms if key not in allowed]:
        raise DefinitionError(
            f"route after {place.name} has a part for {', '.join(strange)}, which the step never gives: expected {', '.join(allowed)}"
        )
    if place.default is None and (missing := [key for key in allowed if key not in place.arms]):
        raise DefinitionError(
            f"route after {place.name} has no part for {', '.join(missing)}: add one, None to go on without, or default=…"
        )


def _keys_of(hint: Any) -> list[str] | None:
    """Return the keys that a type allows; None: any."""
    if hint is bool:
        return ["true", "false"]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [key_text(member) for member in hint]
    if typing.get_origin(hint) is typing.Literal:
        return [key_text(value) for value in typing.get_args(hint) if value is not None]
    return None


def _check_fit(taker: str, parameter: str, giver: str, given: Any, taken: Any) -> None:
    """Refuse two models that are strangers."""
    if not (_is_model(given) and _is_model(taken)) or issubclass(given, taken):
        return
    raise DefinitionError(
        f"step {taker} takes {parameter}: {taken.__name__}, but {giver} gives {given.__name__}: let the two agree"
    )


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def _shown(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
