"""The rules on the bank's own records (D-*, O-GRADE): overdue, grade, exposure, collateral, accounts.

Lists are read oldest first; a rule over months is evaluated only where the months stand in that order.
Rules of change need the earlier snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise

from rkyc.steps.kyc.rules.catalogue import RULES
from rkyc.steps.kyc.rules.derive import AS_OF, PREVIOUS, change_pct, divide_pct, mean_pct, share_pct
from rkyc.steps.kyc.rules.facts import Facts
from rkyc.steps.kyc.rules.findings import Computed, Finding, Money, Word, highest

_KRW = "KRW"
_SUMMARY = "/credit/loan_summary/"
_EXPOSURE = _SUMMARY + "total_exposure_krw"
_VALUE, _SECURED = "/collateral/total_value_krw", "/collateral/secured_exposure_krw"
# Best first; one step is one notch.
_GRADES = (
    *("AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-"),
    *("BB+", "BB", "BB-", "B+", "B", "B-", "CCC", "CC", "C", "D"),
)
_MONTHS = 6  # A mean of "six months" needs six.
_MONTHS_MIN = 3  # Fewer earlier months say nothing about what is usual.
_MONTHS_MAX = 13  # More than a year back says little about it too.


def find_in_bank_records(facts: Facts) -> list[Finding]:
    """Return at most one finding per rule."""
    rules = (
        _overdue,
        _grade_down,
        _grade_up,
        _exposure,
        _collateral,
        _kyc,
        _unsecured,
        _foreign,
        _deposit,
        _card,
        _trade,
    )
    return [found for rule in rules for found in highest(rule(facts))]


def _overdue(facts: Facts) -> Iterator[Finding]:
    rule, flag, days_at = RULES["D-OVERDUE"], _SUMMARY + "overdue_flag", _SUMMARY + "overdue_days"
    days, amount = facts.number(days_at), facts.number(_SUMMARY + "overdue_amount_krw")
    extra = (flag, _SUMMARY + "overdue_amount_krw") if amount else (flag,)
    if days is not None and days >= rule.threshold("days"):
        words: dict[str, Word] = {"days": days}
        if amount:
            words["amount"] = Money(amount, _KRW)
        variant = "days_amount" if amount else None
        yield Finding(rule.rule_id, "days", (days_at,), words, variant=variant, extra_evidence=extra)
    if facts.flag(flag) is True and facts.earlier_flag(flag) is False:
        yield Finding(rule.rule_id, "flag", (flag,), {})


def _grade_down(facts: Facts) -> Iterator[Finding]:
    yield from _grade(facts, "D-GRADE", sign=1, bands=("steep", "fall"))


def _grade_up(facts: Facts) -> Iterator[Finding]:
    yield from _grade(facts, "O-GRADE", sign=-1, bands=("steep", "rise"))


def _grade(facts: Facts, rule_id: str, *, sign: int, bands: tuple[str, str]) -> Iterator[Finding]:
    for pointer in (_SUMMARY + "internal_grade", "/kyc_status/internal_grade"):
        now, before = facts.text(pointer), facts.earlier_text(pointer)
        if now is None or before is None:
            continue
        if now in _GRADES and before in _GRADES:
            notches = sign * (_GRADES.index(now) - _GRADES.index(before))
            for band in bands:
                if notches >= RULES[rule_id].threshold(band):
                    yield Finding(rule_id, band, (pointer,), {"grade": now, "grade_before": before})
        return


def _exposure(facts: Facts) -> Iterator[Finding]:
    now, before = facts.number(_EXPOSURE), facts.earlier_number(_EXPOSURE)
    percent = None if now is None or before is None else change_pct((now, before))
    if now is None or before is None or percent is None:
        return
    words: dict[str, Word] = {
        "exposure": Money(now, _KRW),
        "exposure_before": Computed("value", (PREVIOUS + _EXPOSURE,), "money", _KRW),
        "change": Computed("change_pct", (_EXPOSURE, PREVIOUS + _EXPOSURE), "signed_pct"),
    }
    for band in ("steep", "rise"):
        if percent >= RULES["D-EXPOSURE"].threshold(band):
            yield Finding("D-EXPOSURE", band, (_EXPOSURE,), words)


def _collateral(facts: Facts) -> Iterator[Finding]:
    rule = RULES["D-COLLATERAL"]
    value, secured = facts.number(_VALUE), facts.number(_SECURED)
    if value is not None and secured is not None and value > 0:
        ltv = divide_pct((secured, value))
        words: dict[str, Word] = {
            "ltv": Computed("ratio_pct", (_SECURED, _VALUE)),
            "secured": Money(secured, _KRW),
            "value": Money(value, _KRW),
        }
        for band in ("ltv_very_high", "ltv_high"):
            if ltv is not None and ltv > rule.threshold(band):
                yield Finding(rule.rule_id, band, (_VALUE, _SECURED), words)
    before = facts.earlier_number(_VALUE)
    percent = None if value is None or before is None else change_pct((value, before))
    if value is not None and percent is not None and percent <= rule.threshold("fall"):
        fallen: dict[str, Word] = {
            "value": Money(value, _KRW),
            "value_before": Computed("value", (PREVIOUS + _VALUE,), "money", _KRW),
            "change": Computed("change_pct", (_VALUE, PREVIOUS + _VALUE), "signed_pct"),
        }
        yield Finding(rule.rule_id, "fall", (_VALUE,), fallen)
    yield from _old_appraisal(facts)


def _old_appraisal(facts: Facts) -> Iterator[Finding]:
    items = (facts.doc.get("collateral") or {}).get("items") or []
    pointers = [f"/collateral/items/{index}/appraised_at" for index in range(len(items))]
    dated = [(day, pointer) for pointer in pointers if (day := facts.day(pointer)) is not None]
    if dated:
        day, pointer = min(dated)
        yield from _past(facts, "D-COLLATERAL", "old_appraisal", day, pointer)


def _kyc(facts: Facts) -> Iterator[Finding]:
    pointer = "/kyc_status/last_updated"
    day = facts.day(pointer)
    if day is not None:
        yield from _past(facts, "D-KYC", "old", day, pointer)


def _past(facts: Facts, rule_id: str, band: str, day: date, pointer: str) -> Iterator[Finding]:
    if (facts.as_of - day).days > RULES[rule_id].threshold(band):
        words: dict[str, Word] = {"day": day, "days": Computed("days_between", (pointer, AS_OF), "plain")}
        yield Finding(rule_id, band, (pointer,), words)


def _unsecured(facts: Facts) -> Iterator[Finding]:
    loans = facts.rows("loan")
    chosen = [index for index, loan in enumerate(loans) if loan.get("secured") is False]
    if all(isinstance(loan.get("secured"), bool) for loan in loans):
        yield from _loan_share(facts, "D-UNSECURED", chosen, "secured")


def _foreign(facts: Facts) -> Iterator[Finding]:
    loans = facts.rows("loan")
    chosen = [index for index, loan in enumerate(loans) if loan.get("currency") != _KRW]
    if all(isinstance(loan.get("currency"), str) for loan in loans):
        yield from _loan_share(facts, "D-FX", chosen, "currency")


def _loan_share(facts: Facts, rule_id: str, chosen: list[int], reason: str) -> Iterator[Finding]:
    """Compare the balances of some loans with the total exposure. `reason` is why they were chosen."""
    pointers = tuple(f"/loan/{index}/balance_krw" for index in chosen)
    balances = [facts.number(pointer) for pointer in pointers]
    total = facts.number(_EXPOSURE)
    known = [balance for balance in balances if balance is not None]
    if not known or len(known) < len(balances) or total is None or total <= 0:
        return
    percent = share_pct((*known, total))
    if percent is not None and percent > RULES[rule_id].threshold("high"):
        words: dict[str, Word] = {
            "share": Computed("share_pct", (*pointers, _EXPOSURE)),
            "part": Computed("sum", pointers, "money", _KRW),
            "total": Money(total, _KRW),
        }
        extra = tuple(f"/loan/{index}/{reason}" for index in chosen)
        yield Finding(rule_id, "high", (*pointers[:18], _EXPOSURE), words, extra_evidence=extra[:18])


def _deposit(facts: Facts) -> Iterator[Finding]:
    rule = RULES["D-DEPOSIT"]
    series = _monthly(facts, "deposit", "average_balance_krw")
    balances = [amount for amount, _ in series]
    pointers = tuple(pointer for _, pointer in series)
    if len(series) >= _MONTHS:
        mean_of = pointers[-_MONTHS:]
        percent = mean_pct((balances[-1], *balances[-_MONTHS:]))
        if percent is not None and percent < rule.threshold("low"):
            words: dict[str, Word] = {
                "balance": Money(balances[-1], _KRW),
                "share": Computed("mean_pct", (pointers[-1], *mean_of)),
            }
            yield Finding(rule.rule_id, "low", tuple(reversed(mean_of)), words)
    falls = int(rule.threshold("falling"))
    newest = balances[-(falls + 1) :]
    if len(newest) == falls + 1 and all(later < earlier for earlier, later in pairwise(newest)):
        falling: dict[str, Word] = {
            "balance" if back == 0 else f"balance_{back}": Money(balances[-1 - back], _KRW)
            for back in range(falls + 1)
        }
        yield Finding(rule.rule_id, "falling", tuple(reversed(pointers[-(falls + 1) :])), falling)


def _card(facts: Facts) -> Iterator[Finding]:
    rule, last = RULES["D-CARD"], len(facts.rows("card")) - 1
    series = _monthly(facts, "card", "spend_krw")[-_MONTHS_MAX:]
    if not series:
        return
    spend, spend_at = series[-1]
    if len(series) > _MONTHS_MIN:
        percent = mean_pct((spend, *(amount for amount, _ in series[:-1])))
        if percent is not None and percent > rule.threshold("surge"):
            pointers = tuple(pointer for _, pointer in reversed(series))
            share = Computed("mean_pct", (spend_at, *pointers[1:]))
            yield Finding(rule.rule_id, "surge", pointers, {"spend": Money(spend, _KRW), "share": share})
    limit_at, entertainment_at = f"/card/{last}/limit_krw", f"/card/{last}/entertainment_krw"
    yield from _share(facts, "D-CARD", "limit", ("spend", spend_at), ("limit", limit_at))
    yield from _share(
        facts, "D-CARD", "entertainment", ("entertainment", entertainment_at), ("spend", spend_at)
    )


def _trade(facts: Facts) -> Iterator[Finding]:
    rule, last = RULES["D-TRADE"], len(facts.rows("trade")) - 1
    if last < 0:
        return
    at = f"/trade/{last}/"
    overdue = facts.number(at + "receivable_overdue_krw")
    if overdue is not None and overdue > rule.threshold("overdue"):
        yield Finding(
            rule.rule_id, "overdue", (at + "receivable_overdue_krw",), {"overdue": Money(overdue, _KRW)}
        )
    yield from _share(
        facts,
        "D-TRADE",
        "hedge",
        ("hedged", at + "hedged_krw"),
        ("exposure", at + "fx_exposure_krw"),
        below=True,
    )
    days = facts.number(at + "collection_days")
    if days is not None and days > rule.threshold("collection"):
        yield Finding(rule.rule_id, "collection", (at + "collection_days",), {"days": days})
    yield from _share(
        facts, "D-TRADE", "usance", ("used", at + "usance_used_krw"), ("limit", at + "usance_limit_krw")
    )
    percent, country = facts.number(at + "top_country_pct"), facts.text(at + "top_country")
    if percent is not None and country is not None and percent > rule.threshold("country"):
        words: dict[str, Word] = {"share": Computed("value", (at + "top_country_pct",)), "country": country}
        yield Finding(rule.rule_id, "country", (at + "top_country_pct", at + "top_country"), words)


def _share(
    facts: Facts,
    rule_id: str,
    band: str,
    part: tuple[str, str],
    whole: tuple[str, str],
    *,
    below: bool = False,
) -> Iterator[Finding]:
    """Compare one amount with another; `part` and `whole` are (word, pointer)."""
    amount, of = facts.number(part[1]), facts.number(whole[1])
    if amount is None or of is None or of <= 0:
        return
    percent = divide_pct((amount, of))
    threshold = RULES[rule_id].threshold(band)
    if percent is not None and (percent < threshold if below else percent > threshold):
        words: dict[str, Word] = {
            "share": Computed("ratio_pct", (part[1], whole[1])),
            part[0]: Money(amount, _KRW),
            whole[0]: Money(of, _KRW),
        }
        yield Finding(rule_id, band, (part[1], whole[1]), words)


def _monthly(facts: Facts, part: str, name: str) -> list[tuple[Decimal, str]]:
    """Return (amount, pointer) of every month, oldest first; nothing if a month or an amount is amiss."""
    rows = facts.rows(part)
    months = [row.get("month") for row in rows]
    numbers = [_month_number(month) for month in months]
    if any(number is None for number in numbers):
        return []
    if any((later or 0) - (earlier or 0) != 1 for earlier, later in pairwise(numbers)):
        return []
    pointers = [f"/{part}/{index}/{name}" for index in range(len(rows))]
    amounts = [facts.number(pointer) for pointer in pointers]
    if any(amount is None for amount in amounts):
        return []
    return [
        (amount, pointer) for amount, pointer in zip(amounts, pointers, strict=True) if amount is not None
    ]


def _month_number(month: object) -> int | None:
    """`2024-12` as months since year 0."""
    if not isinstance(month, str):
        return None
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        return None
    return first.year * 12 + first.month
