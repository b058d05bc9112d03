"""The appendix: cited pages with the quotes to mark in them, and cited snapshot values.

Only what some evidence or a sentence of the insight points to is shown, in the order first cited. A snapshot value that the table
of figures shows is linked there; any other gets a row of its own here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rkyc.report.evidence import Evidence, page_anchor, value_text
from rkyc.report.instants import show_instant
from rkyc.report.labels import Labels
from rkyc.report.links import safe_url
from rkyc.report.marks import Span
from rkyc.report.places import PREVIOUS, Shown, name_place, show_value
from rkyc.report.types import SourcePage
from rkyc.steps.kyc.pointers import MISSING, join_pointer, resolve

_MEMBERS_MAX = 30  # Of an object that is cited as a whole.


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The snapshot of the run and the one before it, which `previous:` pointers go into."""

    now: dict[str, Any]
    before: dict[str, Any]

    def of(self, pointer: str) -> dict[str, Any]:
        return self.before if pointer.startswith(PREVIOUS) else self.now

    def find(self, pointer: str) -> Any:
        """Return the value at a pointer, or MISSING."""
        path = pointer.removeprefix(PREVIOUS)
        return resolve(self.of(pointer), path) if path.startswith("/") else MISSING


@dataclass(frozen=True, slots=True)
class BackLink:
    """From a source back to the signal that quotes it."""

    label: str
    target: str


@dataclass(frozen=True, slots=True)
class CitedPage:
    anchor: str
    title: str
    ref: str
    is_external: bool
    url: str | None
    meta: tuple[tuple[str, str], ...]
    text: str
    spans: tuple[Span, ...]
    quoted_by: tuple[BackLink, ...]


@dataclass(frozen=True, slots=True)
class CitedValue:
    anchor: str
    pointer: str
    name: str | None
    value: str
    note: str
    quoted_by: tuple[BackLink, ...]


def list_pointers(signals: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the snapshot pointers that evidence and calculated numbers name, as they come."""
    for signal in signals:
        for evidence in signal.get("evidence") or ():
            if evidence.get("ref_type") == "SNAPSHOT_KEYPATH":
                yield str(evidence.get("ref") or "")
        for derived in signal.get("derived") or ():
            yield from (str(one) for one in derived.get("operands") or ())


def place_values(pointers: Iterable[str], shown: dict[str, str], snapshots: Snapshots) -> dict[str, str]:
    """Return the id of each pointer: its cell in the figures, else a new row; none if it does not exist."""
    placed: dict[str, str] = {}
    for pointer in dict.fromkeys(pointers):
        # A figure may be an object in the snapshot; its number is the same cell.
        cell = shown.get(pointer) or shown.get(pointer.removesuffix("/value"))
        if cell:
            placed[pointer] = cell
        elif snapshots.find(pointer) is not MISSING:
            placed[pointer] = f"value-{len(placed) + 1}"
    return placed


def list_values(
    placed: dict[str, str],
    shown: dict[str, str],
    snapshots: Snapshots,
    evidence: Sequence[Evidence],
    labels: Labels,
) -> tuple[CitedValue, ...]:
    """Return the rows of the placed pointers that the table of figures does not show."""
    rows = []
    for pointer, anchor in placed.items():
        if anchor not in shown.values():
            value = _show(pointer, snapshots.find(pointer), snapshots.of(pointer), labels)
            name = name_place(pointer, snapshots.now, labels)
            rows.append(CitedValue(anchor, pointer, name, value.text, value.note, _links(anchor, evidence)))
    return tuple(rows)


def list_cell_links(evidence: Sequence[Evidence], shown: dict[str, str]) -> dict[str, tuple[BackLink, ...]]:
    """Return who quotes each cell of the table of figures, by cell id."""
    links = {anchor: _links(anchor, evidence) for anchor in shown.values()}
    return {anchor: found for anchor, found in links.items() if found}


def list_pages(
    pages: Sequence[SourcePage], evidence: Sequence[Evidence], told: Sequence[int], labels: Labels
) -> tuple[CitedPage, ...]:
    """Return the pages that evidence points to, in the order first cited, then the `told` ones."""
    cited = dict.fromkeys([*(one.page for one in evidence if one.page is not None), *told])
    return tuple(_cited_page(index, pages[index], evidence, labels) for index in cited)


def _cited_page(index: int, page: SourcePage, evidence: Sequence[Evidence], labels: Labels) -> CitedPage:
    here = [one for one in evidence if one.page == index]
    return CitedPage(
        anchor=page_anchor(index),
        title=page.title or page.ref,
        ref=page.ref,
        is_external=page.kind == "URL",
        url=safe_url(page.ref) if page.kind == "URL" else None,
        meta=tuple(
            (labels.value("meta", key), _show_meta(key, value, labels))
            for key, value in page.meta.items()
            if value
        ),
        text=page.text,
        spans=tuple(one.span for one in here if one.span),
        quoted_by=tuple(BackLink(one.label, one.signal_anchor) for one in here),
    )


def _show(pointer: str, value: Any, snapshot: dict[str, Any], labels: Labels) -> Shown:
    """Show one value; of an object its plain members, each with its name."""
    if not isinstance(value, dict) or "value" in value:
        return show_value(pointer, value_text(value), snapshot, labels)
    told = []
    for key, inner in islice(value.items(), _MEMBERS_MAX):
        place = f"{pointer}{join_pointer(key)}"
        if not isinstance(inner, dict | list):
            name = name_place(place, {}, labels) or key
            told.append(f"{name} {show_value(place, value_text(inner), snapshot, labels).text}")
    return Shown(", ".join(told) or value_text(value))


def _show_meta(key: str, value: str, labels: Labels) -> str:
    if key in ("source_type", "data_class"):
        return labels.value(key, value)
    return show_instant(value) if key == "published_at" else value


def _links(anchor: str, evidence: Sequence[Evidence]) -> tuple[BackLink, ...]:
    return tuple(BackLink(one.label, one.signal_anchor) for one in evidence if one.target == anchor)
