"""XBRL instances: whole-entity facts, one element a concept, derived liabilities, hostile XML."""

from __future__ import annotations

import gzip
from decimal import Decimal

import pytest

from rkyc.errors import DossierError
from rkyc.providers.documents.figures import FiguresResult
from rkyc.providers.documents.xbrl import parse_xbrl
from tests.support.papers import make_xbrl

_YEAR, _YEAR_BEFORE, _END = "2024-01-01/2024-12-31", "2023-01-01/2023-12-31", "2024-12-31"
_DEI = {
    "DocumentFiscalYearFocus": "2024",
    "DocumentFiscalPeriodFocus": "FY",
    "DocumentPeriodEndDate": "2024-12-31",
}


def parse(*facts: tuple[str, str, object], extra: str = "") -> FiguresResult:
    return parse_xbrl(make_xbrl(facts, dei=_DEI, extra=extra), file_name="a.xbrl.xml")


def values(result: FiguresResult) -> dict[tuple[int, str, str], Decimal]:
    return {figure.key: figure.value for figure in result.figures}


def test_facts_become_figures_with_their_place() -> None:
    result = parse(("NetIncomeLoss", _YEAR, -253116000), ("Assets", _END, 540598000))
    loss = next(figure for figure in result.figures if figure.concept == "net_income")
    assert (loss.fiscal_year, loss.period, loss.value, loss.currency) == (
        2024,
        "FY",
        Decimal(-253116000),
        "USD",
    )
    assert (loss.unit, loss.raw_value, loss.source) == (1, "-253116000", "us-gaap:NetIncomeLoss")
    assert loss.ref == "a.xbrl.xml#us-gaap:NetIncomeLoss@c_2024-01-01_2024-12-31"
    assert result.warnings == ()


def test_gzip_is_unpacked() -> None:
    data = make_xbrl([("Assets", _END, 5)], dei=_DEI)
    assert (
        parse_xbrl(gzip.compress(data), file_name="a.xbrl.xml.gz").figures[0].ref.startswith("a.xbrl.xml.gz#")
    )


def test_quarters_are_kept_and_year_to_date_is_not() -> None:
    result = parse(
        ("Revenues", _YEAR, 100),
        ("Revenues", "2024-10-01/2024-12-31", 30),
        ("Revenues", "2024-01-01/2024-09-30", 70),
    )
    assert values(result) == {(2024, "FY", "revenue"): 100, (2024, "Q4", "revenue"): 30}


def test_element_that_covers_most_years_serves_all_of_them() -> None:
    result = parse(
        ("Revenues", _YEAR, 100), ("SalesRevenueNet", _YEAR, 90), ("SalesRevenueNet", _YEAR_BEFORE, 80)
    )
    assert values(result) == {(2023, "FY", "revenue"): 80, (2024, "FY", "revenue"): 90}


def test_order_of_the_table_decides_between_equals() -> None:
    result = parse(("ProfitLoss", _YEAR, 4), ("NetIncomeLoss", _YEAR, 5))
    assert values(result) == {(2024, "FY", "net_income"): 5}


def test_net_interest_is_an_expense() -> None:
    result = parse(("InterestIncomeExpenseNonoperatingNet", _YEAR, -7700), ("InterestExpense", _YEAR, 8000))
    assert values(result) == {
        (2024, "FY", "net_interest_expense"): 7700,
        (2024, "FY", "interest_expense"): 8000,
    }


def test_liabilities_are_derived_and_say_so() -> None:
    result = parse(("LiabilitiesAndStockholdersEquity", _END, 540598), ("StockholdersEquity", _END, 405765))
    derived = next(figure for figure in result.figures if figure.concept == "liabilities")
    assert derived.value == 134833
    assert derived.source == "derived: us-gaap:LiabilitiesAndStockholdersEquity - us-gaap:StockholdersEquity"


@pytest.mark.parametrize(
    ("further", "liabilities"),
    [
        (("Liabilities", 60), 60),
        (("MinorityInterest", 5), None),
        (("MinorityInterest", 0), 40),
        (("TemporaryEquityCarryingAmountAttributableToParent", 5), None),
        (("StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest", 65), 35),
    ],
)
def test_liabilities_are_derived_only_where_nothing_lies_between(
    further: tuple[str, int], liabilities: int | None
) -> None:
    result = parse(
        ("LiabilitiesAndStockholdersEquity", _END, 100),
        ("StockholdersEquity", _END, 60),
        (further[0], _END, further[1]),
    )
    assert values(result).get((2024, "FY", "liabilities")) == liabilities


def test_liabilities_are_not_derived_from_one_of_the_two() -> None:
    assert (2024, "FY", "liabilities") not in values(
        parse(("Assets", _END, 9), ("StockholdersEquity", _END, 4))
    )


def test_parts_of_the_company_other_units_and_nil_do_not_count() -> None:
    extra = (
        '<context id="part"><entity><identifier scheme="s">1</identifier><segment><x/></segment></entity>'
        "<period><startDate>2024-01-01</startDate><endDate>2024-12-31</endDate></period></context>"
        '<us-gaap:Revenues contextRef="part" unitRef="usd">1</us-gaap:Revenues>'
        '<us-gaap:Revenues contextRef="c_2024-01-01_2024-12-31" unitRef="shares">2</us-gaap:Revenues>'
        '<us-gaap:Revenues contextRef="c_2024-01-01_2024-12-31" unitRef="usd" xsi:nil="true"/>'
        '<us-gaap:Revenues contextRef="c_2024-01-01_2024-12-31">3</us-gaap:Revenues>'
    )
    assert parse(("Assets", _END, 5), extra=extra).figures[0].concept == "assets"
    assert len(parse(("Assets", _END, 5), extra=extra).figures) == 1


def test_more_precise_of_two_roundings_stands_silently() -> None:
    extra = '<us-gaap:Assets contextRef="c_2024-12-31" unitRef="usd" decimals="-6">541000000</us-gaap:Assets>'
    result = parse(("Assets", _END, 540598000), extra=extra)
    assert values(result) == {(2024, "FY", "assets"): 540598000}
    assert result.warnings == ()


def test_two_values_that_rounding_does_not_explain_are_told() -> None:
    extra = '<us-gaap:Assets contextRef="c_2024-12-31" unitRef="usd" decimals="-6">600000000</us-gaap:Assets>'
    result = parse(("Assets", _END, 540598000), extra=extra)
    assert values(result) == {(2024, "FY", "assets"): 540598000}
    assert [warning.code for warning in result.warnings] == ["conflicting_figure"]


def test_translation_into_another_currency_is_left_out() -> None:
    extra = '<us-gaap:Assets contextRef="c_2024-12-31" unitRef="krw">7000</us-gaap:Assets>'
    result = parse(("Assets", _END, 5), ("AssetsCurrent", _END, 3), extra=extra)
    assert {figure.currency for figure in result.figures} == {"USD"}
    assert [warning.code for warning in result.warnings] == ["other_currency"]


def test_year_that_is_not_stated_is_taken_from_the_latest_and_told() -> None:
    result = parse_xbrl(make_xbrl([("Revenues", _YEAR, 5)]), file_name="a.xml")
    assert values(result) == {(2024, "FY", "revenue"): 5}
    assert [warning.code for warning in result.warnings] == ["fiscal_year_guessed"]


def test_instance_without_known_facts_is_told() -> None:
    result = parse(("InterestPaid", _YEAR, 5))
    assert result.figures == ()
    assert [warning.code for warning in result.warnings] == ["no_figures"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "well-formed"),
        (b"<xbrl", "well-formed"),
        (b"<html/>", "no xbrl element"),
        (gzip.compress(b"<xbrl/>", mtime=0)[:-6], "gzip"),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "document type"),
        (
            b'<!DOCTYPE x [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "' + b"&a;" * 1000 + b'"><!ENTITY c "' + b"&b;" * 1000
            + b'">]><x>&c;</x>',
            "well-formed",
        ),
    ],
)  # fmt: skip
def test_unusable_instances_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(DossierError, match=told) as caught:
        parse_xbrl(data, file_name="a.xbrl.xml")
    assert caught.value.details["file"] == "a.xbrl.xml"
