"""What a sentence of the insight cites → a link to where the report shows it.

A risk signal is cited by its id and leads to its card; `snapshot:POINTER` leads to a column or a cell of
the figures or to the row of a snapshot value, `doc:NAME:PAGE` and `url:URL` to the stored text. What the
result cites and does not hold is shown as such, without a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rkyc.report.evidence import Sources, page_anchor
from rkyc.report.places import name_place
from rkyc.report.signals import Card

_SIGNAL = "signal:"
_SNAPSHOT = "snapshot:"
_KINDS = {"doc": "DOC_PAGE", "url": "URL"}


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence's pointer into the report; `target` is None when the report does not hold the place."""

    label: str
    title: str
    target: str | None


def list_cited_pointers(insight: Mapping[str, Any]) -> Iterator[str]:
    """Yield the snapshot pointers that the insight cites, as they come."""
    for one in _iterate_citations(insight):
        if one.startswith(_SNAPSHOT):
            yield one.removeprefix(_SNAPSHOT)


def list_cited_pages(insight: Mapping[str, Any], sources: Sources) -> tuple[int, ...]:
    """Return the indexes of the pages that the insight cites, each once, in the order cited."""
    found = (_find_page(one, sources) for one in _iterate_citations(insight))
    return tuple(dict.fromkeys(page for page in found if page is not None))


class CitationIndex:
    """Resolves citations against the cards and sources of one report."""

    def __init__(self, cards: Iterable[Card], sources: Sources) -> None:
        self._cards = {card.id: card for card in cards}
        self._sources = sources
        self._labels = sources.labels

    def resolve(self, cited: Iterable[object]) -> tuple[Citation, ...]:
        """Return one citation per cited place, in the order cited."""
        return tuple(self._resolve(str(one)) for one in cited)

    def _resolve(self, cited: str) -> Citation:
        kind, _, ref = cited.partition(":")
        if cited.startswith(_SNAPSHOT):
            return self._resolve_value(ref)
        if kind in _KINDS:
            return self._resolve_page(cited, ref)
        card = self._cards.get(cited.removeprefix(_SIGNAL))
        if card is None:
            return self._unknown(cited)
        title = self._labels.text("citation", number=card.number, title=card.title)
        return Citation(str(card.number), title, card.anchor)

    def _resolve_value(self, pointer: str) -> Citation:
        target = self._sources.cells.get(pointer)
        if target is None:
            return self._unknown(pointer)
        name = name_place(pointer, self._sources.snapshot, self._labels) or pointer
        return Citation(name, pointer, target)

    def _resolve_page(self, cited: str, ref: str) -> Citation:
        page = _find_page(cited, self._sources)
        if page is None:
            return self._unknown(ref)
        title = self._sources.texts[page].title or ref
        return Citation(self._name_page(cited, ref), title, page_anchor(page))

    def _name_page(self, cited: str, ref: str) -> str:
        if cited.startswith("url:"):
            return _host(ref) or ref
        name, _, page = ref.rpartition(":")
        return self._labels.text("page_of", name=name.rpartition("/")[2], page=page)

    def _unknown(self, cited: str) -> Citation:
        return Citation(f"{cited}?", self._labels.text("citation_unknown"), None)


def _iterate_citations(insight: Mapping[str, Any]) -> Iterator[str]:
    for section in insight.get("sections") or ():
        for sentence in section.get("sentences") or ():
            yield from map(str, sentence.get("citations") or ())


def _find_page(cited: str, sources: Sources) -> int | None:
    kind, _, ref = cited.partition(":")
    return sources.pages.get((_KINDS[kind], ref)) if kind in _KINDS else None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
