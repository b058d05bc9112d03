"""Figures from an XBRL 2.1 instance with US-GAAP elements.

Only facts of the whole entity count: a context with a segment or scenario is one part's. Periods are
placed by the fiscal year that the filing states: about a year is FY, about a quarter is Q1 to Q4, a
balance-sheet date is FY at the year's end and a quarter elsewhere; year-to-date facts are left out.
For each concept one element is taken for all years, the one that covers most of them, so that two
years are never compared under different definitions; `concepts.US_GAAP` decides between equals.
Values in an instance are absolute: its `decimals` tell precision, not scale.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from lxml import etree

from rkyc.errors import DossierError, InvalidFileError
from rkyc.providers.documents.concepts import US_GAAP, element_concept
from rkyc.providers.documents.figures import Figure, FiguresResult, keep_first, signed
from rkyc.providers.documents.fiscal import FiscalCalendar, Span, calendar_of
from rkyc.providers.documents.numbers import parse_number, subtract
from rkyc.providers.documents.types import DocumentWarning
from rkyc.providers.documents.unpack import gunzip

BYTES_MAX = 100 * 2**20  # Unpacked; the instances of the largest filers stay below 30 MB.

_XBRLI = "{http://www.xbrl.org/2003/instance}"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_US_GAAP = re.compile(r"/us-gaap/\d{4}")
_DEI = re.compile(r"/dei/\d{4}")
_CURRENCY = re.compile(r"(?:.*:)?([A-Z]{3})")

_TOTAL = "LiabilitiesAndStockholdersEquity"
_WHOLE_EQUITY, _PARENT_EQUITY = US_GAAP["equity"]
# Where one of these is reported, total minus equity is not liabilities.
_BETWEEN = (
    "TemporaryEquityCarryingAmountAttributableToParent",
    "TemporaryEquityCarryingAmountIncludingPortionAttributableToNoncontrollingInterests",
    "RedeemableNoncontrollingInterestEquityCarryingAmount",
    "RedeemableNoncontrollingInterestEquityCommonCarryingAmount",
    "RedeemableNoncontrollingInterestEquityPreferredCarryingAmount",
)
_MINORITY = "MinorityInterest"

_Key = tuple[int, str]  # Fiscal year, period.


@dataclass(frozen=True, slots=True)
class _Fact:
    element: str
    context: str
    currency: str
    value: Decimal
    raw_value: str
    decimals: int | None  # None is exact (INF) or not stated.


def parse_xbrl(data: bytes, *, file_name: str) -> FiguresResult:
    """Read an instance, gzipped or not; entities and external references are refused.

    Raises:
        DossierError: damaged, too large, with a document type declaration, or no XBRL instance.
    """
    root = _parse(data, file_name)
    spans = _read_spans(root)
    calendar, warnings = _calendar(root, spans)
    facts = _place_facts(root, spans, calendar)
    facts, currency_warnings = _keep_main_currency(facts)
    chosen, conflict_warnings = _choose_precise(facts)
    figures = keep_first([*_given(chosen, file_name), *_derived_liabilities(chosen, file_name)])
    notes = [*warnings, *currency_warnings, *conflict_warnings, *figures.warnings]
    if not figures.figures:
        message = f"{file_name}: no figure of a known US-GAAP element for the whole company was found"
        notes.append(DocumentWarning("no_figures", message))
    return FiguresResult(figures.figures, tuple(notes))


def _parse(data: bytes, file_name: str) -> etree._Element:
    try:
        _, unpacked = gunzip(file_name, data, BYTES_MAX)
        if len(unpacked) > BYTES_MAX:
            raise DossierError(
                f"{file_name}: {len(unpacked)} bytes, at most {BYTES_MAX} are read", {"file": file_name}
            )
        root = etree.fromstring(
            unpacked, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        )
    except InvalidFileError as error:
        raise DossierError(error.message, {"file": file_name}) from error
    except (etree.LxmlError, ValueError) as error:
        raise DossierError(
            f"{file_name}: no well-formed XML; take the instance document from the filing again",
            {"file": file_name},
        ) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise DossierError(
            f"{file_name}: holds a document type declaration, which an instance does not need; remove it",
            {"file": file_name},
        )
    if root.tag != _XBRLI + "xbrl":
        raise DossierError(
            f"{file_name}: the root is no xbrl element; expected the instance, not a schema or linkbase",
            {"file": file_name},
        )
    return root


def _read_spans(root: etree._Element) -> dict[str, Span]:
    """Return the period of each context of the whole entity, by context id."""
    spans: dict[str, Span] = {}
    for context in root.iterchildren(_XBRLI + "context"):
        parts = next(context.iter(_XBRLI + "segment", _XBRLI + "scenario"), None)
        period = context.find(_XBRLI + "period")
        if parts is not None or period is None:
            continue
        start, end = _date(period, "startDate"), _date(period, "endDate") or _date(period, "instant")
        if end is not None:
            spans[context.get("id", "")] = Span(start, end)
    return spans


def _date(period: etree._Element, kind: str) -> date | None:
    text = period.findtext(_XBRLI + kind, "").strip()
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _calendar(
    root: etree._Element, spans: dict[str, Span]
) -> tuple[FiscalCalendar | None, list[DocumentWarning]]:
    stated = {
        etree.QName(element).localname: (element.text or "").strip()
        for element in root.iterchildren(tag=etree.Element)
        if element.get("contextRef") in spans and _DEI.search(etree.QName(element).namespace or "")
    }
    calendar = calendar_of(stated, spans.values())
    if calendar is None or calendar.is_stated:
        return calendar, []
    message = f"the filing does not state its fiscal year; the year that ends on {calendar.year_end} was taken for it"
    return calendar, [DocumentWarning("fiscal_year_guessed", message)]


def _place_facts(
    root: etree._Element, spans: dict[str, Span], calendar: FiscalCalendar | None
) -> list[tuple[_Key, _Fact]]:
    """Return the monetary US-GAAP facts whose period is a fiscal year, a quarter or the end of one."""
    if calendar is None:
        return []
    currencies = _read_currencies(root)
    facts = []
    for element in root.iterchildren(tag=etree.Element):
        name, context = etree.QName(element), element.get("contextRef", "")
        currency = currencies.get(element.get("unitRef", ""))
        if currency is None or context not in spans or not _US_GAAP.search(name.namespace or ""):
            continue
        key = calendar.place(spans[context])
        raw_value = (element.text or "").strip()
        if key is None or element.get(_NIL) in ("true", "1"):
            continue
        try:
            value = parse_number(raw_value)
        except ValueError:
            continue  # The format has no other numbers: whatever it is, it is no amount.
        decimals = element.get("decimals", "INF")
        digits = int(decimals) if re.fullmatch(r"-?\d{1,3}", decimals) else None
        facts.append((key, _Fact(name.localname, context, currency, value, raw_value, digits)))
    return facts


def _read_currencies(root: etree._Element) -> dict[str, str]:
    """Return the currency of each unit that is plain money, by unit id."""
    currencies = {}
    for unit in root.iterchildren(_XBRLI + "unit"):
        measures = unit.findall(_XBRLI + "measure")
        code = _CURRENCY.fullmatch((measures[0].text or "").strip()) if len(measures) == 1 else None
        if code is not None:
            currencies[unit.get("id", "")] = code[1]
    return currencies


def _keep_main_currency(
    facts: list[tuple[_Key, _Fact]],
) -> tuple[list[tuple[_Key, _Fact]], list[DocumentWarning]]:
    counts = Counter(fact.currency for _, fact in facts)
    if len(counts) < 2:
        return facts, []
    main = min(counts, key=lambda currency: (-counts[currency], currency))
    others = ", ".join(sorted(set(counts) - {main}))
    message = f"facts in {others} were left out; the statements are in {main}"
    kept = [(key, fact) for key, fact in facts if fact.currency == main]
    return kept, [DocumentWarning("other_currency", message)]


def _choose_precise(
    facts: Iterable[tuple[_Key, _Fact]],
) -> tuple[dict[str, dict[_Key, _Fact]], list[DocumentWarning]]:
    """Keep one fact an element and period: the most precise; warn where rounding does not explain two."""
    chosen: dict[str, dict[_Key, _Fact]] = defaultdict(dict)
    warnings = []
    for key, fact in facts:
        first = chosen[fact.element].setdefault(key, fact)
        if first.value == fact.value:
            continue
        coarse, fine = sorted((first, fact), key=_precision)
        if abs(subtract(coarse.value, fine.value)) * 2 > _rounding_step(coarse) and element_concept(
            fact.element
        ):
            message = (
                f"{fact.element} of {key[1]}{key[0]} has two values; that of context {fine.context} stands"
            )
            warnings.append(DocumentWarning("conflicting_figure", message))
        chosen[fact.element][key] = fine
    return chosen, warnings


def _precision(fact: _Fact) -> tuple[bool, int]:
    return (fact.decimals is None, fact.decimals or 0)


def _rounding_step(fact: _Fact) -> Decimal:
    return Decimal(0) if fact.decimals is None else Decimal(1).scaleb(-fact.decimals)


def _given(chosen: dict[str, dict[_Key, _Fact]], file_name: str) -> Iterable[Figure]:
    for elements in US_GAAP.values():
        found = [element for element in elements if chosen.get(element)]
        if not found:
            continue
        # max() takes the first of equals, so the order of the table decides.
        element = max(found, key=lambda name: sum(period == "FY" for _, period in chosen[name]))
        for key, fact in chosen[element].items():
            yield _figure(key, fact, file_name)


def _figure(key: _Key, fact: _Fact, file_name: str) -> Figure:
    concept = element_concept(fact.element)
    assert concept is not None  # Only elements of the table come here.
    source = f"us-gaap:{fact.element}"
    value = signed(fact.value, concept)
    return Figure(*key, concept.name, value, fact.currency, 1, fact.raw_value, source, _ref(fact, file_name))


def _derived_liabilities(chosen: dict[str, dict[_Key, _Fact]], file_name: str) -> Iterable[Figure]:
    """Give total minus equity where no liabilities are reported and nothing lies between the two."""
    for key, total in chosen.get(_TOTAL, {}).items():
        whole, parent = (chosen.get(element, {}).get(key) for element in (_WHOLE_EQUITY, _PARENT_EQUITY))
        between = _BETWEEN if whole else (*_BETWEEN, _MINORITY)
        equity = whole or parent
        if equity is None or key in chosen.get("Liabilities", {}):
            continue
        if any(fact.value for element in between if (fact := chosen.get(element, {}).get(key))):
            continue
        value = subtract(total.value, equity.value)
        source = f"derived: us-gaap:{total.element} - us-gaap:{equity.element}"
        yield Figure(
            *key, "liabilities", value, total.currency, 1, str(value), source, _ref(total, file_name)
        )


def _ref(fact: _Fact, file_name: str) -> str:
    return f"{file_name}#us-gaap:{fact.element}@{fact.context}"
