"""The rules on statements (F-*) and their mirror images (O-*): the newest year, and its way there.

Only whole years count, and a change is told of consecutive years in one currency; where the year
before is missing, the rules of change are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from rkyc.steps.kyc.rules.catalogue import RULES
from rkyc.steps.kyc.rules.derive import change_pct, divide, divide_pct
from rkyc.steps.kyc.rules.facts import Facts, statement
from rkyc.steps.kyc.rules.findings import Computed, Finding, Money, Word, highest


def find_in_figures(facts: Facts) -> list[Finding]:
    """Return at most one finding per rule for the newest fiscal year."""
    if not facts.fiscal_years:
        return []
    year = facts.fiscal_years[0]
    rules = (_debt, _liquidity, _cover, _loss, _revenue, _revenue_up, _operating, _operating_up, _impairment)
    return [found for rule in rules for found in highest(rule(facts, year))]


def _debt(facts: Facts, year: int) -> Iterator[Finding]:
    liabilities, equity = _get(facts, year, "liabilities"), _get(facts, year, "equity")
    if liabilities is None or equity is None:
        return
    rule, evidence = RULES["F-DEBT"], _refs(year, "liabilities", "equity")
    words = _words(facts, year, "liabilities", "equity")
    ratio = Computed("ratio_pct", evidence)
    if equity <= rule.threshold("no_equity"):
        yield Finding(rule.rule_id, "no_equity", evidence, words, f"FY{year}")
        return
    percent = divide_pct((liabilities, equity))
    assert percent is not None  # Equity is above zero here.
    words = {**words, "ratio": ratio}
    if percent > rule.threshold("very_high"):
        yield Finding(rule.rule_id, "very_high", evidence, words, f"FY{year}")
    before = _debt_ratio_before(facts, year)
    if before is not None and percent - before >= rule.threshold("rise"):
        evidence_before = _refs(year - 1, "liabilities", "equity")
        words_before: dict[str, Word] = {
            **words,
            **_words(facts, year - 1, "liabilities", "equity", suffix="_before"),
            "ratio_before": Computed("ratio_pct", evidence_before),
            "before": f"FY{year - 1}",
        }
        yield Finding(rule.rule_id, "rise", (*evidence, *evidence_before), words_before, f"FY{year}")
    if percent > rule.threshold("high"):
        yield Finding(rule.rule_id, "high", evidence, words, f"FY{year}")


def _debt_ratio_before(facts: Facts, year: int) -> Decimal | None:
    liabilities, equity = _get(facts, year - 1, "liabilities"), _get(facts, year - 1, "equity")
    if liabilities is None or equity is None or equity <= 0:
        return None
    return divide_pct((liabilities, equity))


def _liquidity(facts: Facts, year: int) -> Iterator[Finding]:
    assets, liabilities = _get(facts, year, "current_assets"), _get(facts, year, "current_liabilities")
    if assets is None or liabilities is None or liabilities <= 0:
        return
    rule, evidence = RULES["F-LIQ"], _refs(year, "current_assets", "current_liabilities")
    percent = divide_pct((assets, liabilities))
    words = _words(facts, year, "current_assets", "current_liabilities") | {
        "ratio": Computed("ratio_pct", evidence)
    }
    for band in ("very_low", "low"):
        if percent is not None and percent < rule.threshold(band):
            yield Finding(rule.rule_id, band, evidence, words, f"FY{year}")


def _cover(facts: Facts, year: int) -> Iterator[Finding]:
    rule = RULES["F-COVER"]
    newest = _interest_cover(facts, year)
    if newest is None:
        return
    times, evidence = newest
    words: dict[str, Word] = {
        **_words(facts, year, "operating_income"),
        "interest": _money(facts, year, evidence[1].rsplit("/", 1)[1]),
        "cover": Computed("multiple", evidence, "multiple"),
    }
    years_before = [_interest_cover(facts, year - back) for back in (1, 2)]
    known = [(times, evidence), *(found for found in years_before if found is not None)]
    if len(known) == 3 and all(found[0] < rule.threshold("three_years") for found in known):
        all_words: dict[str, Word] = {
            **words,
            "before": f"FY{year - 1}",
            "before_2": f"FY{year - 2}",
            "cover_before": Computed("multiple", known[1][1], "multiple"),
            "cover_before_2": Computed("multiple", known[2][1], "multiple"),
        }
        refs = tuple(ref for found in known for ref in found[1])
        yield Finding(rule.rule_id, "three_years", refs, all_words, f"FY{year}")
    if times < rule.threshold("low"):
        yield Finding(rule.rule_id, "low", evidence, words, f"FY{year}")


def _interest_cover(facts: Facts, year: int) -> tuple[Decimal, tuple[str, str]] | None:
    """Return operating income over interest and its two pointers; None where no interest is due."""
    income = _get(facts, year, "operating_income")
    for concept in ("interest_expense", "net_interest_expense"):
        interest = _get(facts, year, concept)
        if income is not None and interest is not None and interest > 0:
            times = divide((income, interest))
            assert times is not None
            return times, (statement(year, "operating_income"), statement(year, concept))
    return None


def _loss(facts: Facts, year: int) -> Iterator[Finding]:
    rule = RULES["F-LOSS"]
    incomes = [_get(facts, year - back, "net_income") for back in range(3)]
    limit = rule.threshold("loss")
    if incomes[0] is None or incomes[0] >= limit:
        return
    words = _words(facts, year, "net_income")
    if all(income is not None and income < limit for income in incomes):
        refs = tuple(statement(year - back, "net_income") for back in range(3))
        three: dict[str, Word] = {
            **words,
            **_words(facts, year - 1, "net_income", suffix="_before"),
            **_words(facts, year - 2, "net_income", suffix="_before_2"),
            "before": f"FY{year - 1}",
            "before_2": f"FY{year - 2}",
        }
        yield Finding(rule.rule_id, "three_years", refs, three, f"FY{year}")
    yield Finding(rule.rule_id, "loss", _refs(year, "net_income"), words, f"FY{year}")


def _revenue(facts: Facts, year: int) -> Iterator[Finding]:
    found = _change(facts, year, "revenue")
    if found is None or found[1] <= 0:
        return
    rule = RULES["F-REV"]
    for band in ("steep", "fall"):
        if found[2] <= rule.threshold(band):
            yield _changed("F-REV", band, facts, year, "revenue")


def _revenue_up(facts: Facts, year: int) -> Iterator[Finding]:
    found = _change(facts, year, "revenue")
    if found is None or found[1] <= 0:
        return
    rule = RULES["O-REV"]
    for band in ("steep", "rise"):
        if found[2] >= rule.threshold(band):
            yield _changed("O-REV", band, facts, year, "revenue")


def _operating(facts: Facts, year: int) -> Iterator[Finding]:
    found = _change(facts, year, "operating_income")
    if found is not None and found[2] <= RULES["F-OP"].threshold("fall"):
        yield _changed("F-OP", "fall", facts, year, "operating_income")


def _operating_up(facts: Facts, year: int) -> Iterator[Finding]:
    found = _change(facts, year, "operating_income")
    # A smaller loss is a smaller loss, not an opportunity.
    if found is not None and found[0] > 0 and found[2] >= RULES["O-OP"].threshold("rise"):
        yield _changed("O-OP", "rise", facts, year, "operating_income")


def _impairment(facts: Facts, year: int) -> Iterator[Finding]:
    equity, capital = _get(facts, year, "equity"), _get(facts, year, "paid_in_capital")
    if equity is None or capital is None or capital <= 0 or equity >= capital:
        return
    rule, evidence = RULES["F-IMPAIR"], _refs(year, "equity", "paid_in_capital")
    words = _words(facts, year, "equity", "paid_in_capital")
    band = "whole" if equity <= rule.threshold("whole") else "part"
    yield Finding(rule.rule_id, band, evidence, words, f"FY{year}")


def _change(facts: Facts, year: int, concept: str) -> tuple[Decimal, Decimal, Decimal] | None:
    """Return this year's value, last year's, and the change in per cent of last year's size."""
    now, before = _get(facts, year, concept), _get(facts, year - 1, concept)
    if now is None or before is None or facts.currency(year) != facts.currency(year - 1):
        return None
    percent = change_pct((now, before))
    return None if percent is None else (now, before, percent)


def _changed(rule_id: str, band: str, facts: Facts, year: int, concept: str) -> Finding:
    evidence = (statement(year, concept), statement(year - 1, concept))
    words: dict[str, Word] = {
        **_words(facts, year, concept),
        **_words(facts, year - 1, concept, suffix="_before"),
        "before": f"FY{year - 1}",
    }
    if concept == "revenue":
        words["change"] = Computed("change_pct", evidence, "signed_pct")
    return Finding(rule_id, band, evidence, words, f"FY{year}")


def _get(facts: Facts, year: int, concept: str) -> Decimal | None:
    return facts.number(statement(year, concept))


def _refs(year: int, *concepts: str) -> tuple[str, ...]:
    return tuple(statement(year, concept) for concept in concepts)


def _words(facts: Facts, year: int, *concepts: str, suffix: str = "") -> dict[str, Word]:
    words: dict[str, Word] = {concept + suffix: _money(facts, year, concept) for concept in concepts}
    return words if suffix else {**words, "period": f"FY{year}"}


def _money(facts: Facts, year: int, concept: str) -> Money:
    amount = _get(facts, year, concept)
    assert amount is not None  # Callers have checked the figures that they show.
    return Money(amount, facts.currency(year))
