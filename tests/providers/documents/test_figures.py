"""The statements table: what is read, what is refused, and where the sender is pointed to."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkyc.errors import DossierError
from rkyc.providers.documents.figures import (
    UNITS,
    Figure,
    FiguresResult,
    keep_first,
    merge_figures,
    parse_statements_csv,
)

_HEADER = "fiscal_year,period,concept,value,currency,unit,source"


def parse(*rows: str, header: str = _HEADER, encoding: str = "utf-8") -> FiguresResult:
    return parse_statements_csv("\r\n".join([header, *rows]).encode(encoding), file_name="statements.csv")


def values(result: FiguresResult) -> dict[tuple[int, str, str], Decimal]:
    return {figure.key: figure.value for figure in result.figures}


def test_row_becomes_an_absolute_figure_with_its_place() -> None:
    result = parse("2024,FY,매출액,1234.5,krw,1000000,감사보고서", "2024,q1,net_income,(7),KRW,1000,")
    assert result.warnings == ()
    assert result.figures == (
        Figure(
            2024,
            "FY",
            "revenue",
            Decimal(1_234_500_000),
            "KRW",
            1_000_000,
            "1234.5",
            "감사보고서",
            "statements.csv:2",
        ),
        Figure(2024, "Q1", "net_income", Decimal(-7_000), "KRW", 1_000, "(7)", None, "statements.csv:3"),
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_encodings(encoding: str) -> None:
    result = parse(
        "2024,FY,자산총계,100,KRW,1,감사보고서", "2024,FY,자본총계,40,KRW,1,감사보고서", encoding=encoding
    )
    assert {key[2] for key in values(result)} == {"assets", "equity"}


def test_columns_may_stand_in_any_order_and_blank_rows_are_nothing() -> None:
    result = parse(
        "KRW,1,매출액,note,FY,2024,5",
        ",,,,,,",
        "",
        header="Currency, UNIT ,concept,remark,period,fiscal_year,value",
    )
    assert values(result) == {(2024, "FY", "revenue"): Decimal(5)}


def test_quoted_thousands_are_read() -> None:
    assert values(parse('2024,FY,assets,"1,234,567",KRW,1000,x')) == {
        (2024, "FY", "assets"): Decimal(1_234_567_000)
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("결손금", "500", -500),
        ("결손금", "(500)", -500),
        ("당기순손실", "30", -30),
        ("영업손실", "△4", -4),
        ("이익잉여금(결손금)", "-500", -500),
        ("InterestIncomeExpenseNet", "-7", 7),
        ("us-gaap:InterestExpense", "7", 7),
        ("당기순손실", "0", 0),
    ],
)
def test_names_that_carry_a_sign(name: str, value: str, expected: int) -> None:
    (figure,) = parse(f"2024,FY,{name},{value},KRW,1,").figures
    assert figure.value == expected


@given(value=st.integers(-(10**12), 10**12), unit=st.sampled_from(UNITS))
def test_same_amount_in_another_unit_is_the_same_figure(value: int, unit: int) -> None:
    in_unit = parse(f"2024,FY,assets,{value},KRW,{unit},")
    in_ones = parse(f"2024,FY,assets,{value * unit},KRW,1,")
    assert [str(figure.value) for figure in in_unit.figures] == [
        str(figure.value) for figure in in_ones.figures
    ]


def test_unknown_concept_is_a_warning_and_its_row_is_left_out() -> None:
    result = parse("2024,FY,EBITDA,5,KRW,1,", "2024,FY,매출액,6,KRW,1,")
    assert [figure.concept for figure in result.figures] == ["revenue"]
    (warning,) = result.warnings
    assert warning.code == "unknown_concept"
    assert "statements.csv:2" in warning.message
    assert "EBITDA" in warning.message


def test_first_of_two_values_stands_and_both_are_named() -> None:
    result = parse("2024,FY,매출액,5,KRW,1,", "2024,FY,revenue,6,KRW,1,", "2024,FY,Revenues,5,KRW,1,")
    assert values(result) == {(2024, "FY", "revenue"): Decimal(5)}
    (warning,) = result.warnings
    assert warning.code == "conflicting_figure"
    assert "statements.csv:2 stands, statements.csv:3" in warning.message


def test_files_are_merged_in_their_order() -> None:
    first = parse("2024,FY,assets,5,KRW,1,")
    second = parse("2024,FY,assets,6,KRW,1,", "2023,FY,assets,4,KRW,1,")
    merged = merge_figures([first, second])
    assert values(merged) == {(2023, "FY", "assets"): Decimal(4), (2024, "FY", "assets"): Decimal(5)}
    assert [warning.code for warning in merged.warnings] == ["conflicting_figure"]
    assert keep_first(merged.figures).figures == merged.figures


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("2024,FY,assets,about 5,KRW,1,", "value"),
        ("2024,FY,assets,,KRW,1,", "value"),
        ("2024,FY,assets,1e400,KRW,1,", "value"),
        ("2024,FY,assets,1,234,KRW,1,", "currency"),
        ("2024,FY,assets,1,KRW,1,note,surplus", "value"),
        ("24,FY,assets,5,KRW,1,", "fiscal_year"),
        ("2024,H1,assets,5,KRW,1,", "period"),
        ("2024,FY,,5,KRW,1,", "concept"),
        ("2024,FY,assets,5,원,1,", "currency"),
        ("2024,FY,assets,5,KRW,100,", "unit"),
        ("2024,FY,assets,5", "currency"),
    ],
)
def test_row_that_can_not_be_read_is_refused_with_its_place(row: str, column: str) -> None:
    with pytest.raises(DossierError) as caught:
        parse("2023,FY,assets,4,KRW,1,", row)
    error = caught.value
    assert (error.details["file"], error.details["line"], error.details["column"]) == (
        "statements.csv",
        3,
        column,
    )
    assert f"statements.csv: line 3, column {column}: expected" in error.message
    assert "correct the file" in error.message


def test_all_bad_rows_are_told_at_once_without_their_content() -> None:
    with pytest.raises(DossierError) as caught:
        parse("2024,FY,assets,secret,KRW,1,", "2024,FY,equity,5,KRW,1,", "2024,XX,assets,5,KRW,1,")
    assert [(row["line"], row["column"]) for row in caught.value.details["rows"]] == [
        (2, "value"),
        (4, "period"),
    ]
    assert "(and 1 more)" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"year,amount\n2024,5\n", b"\x89PNG\r\n\x1a\n" + bytes(64)])
def test_file_without_the_header_is_refused(data: bytes) -> None:
    with pytest.raises(DossierError, match="the header must be") as caught:
        parse_statements_csv(data, file_name="statements.csv")
    assert caught.value.details == {"file": "statements.csv", "line": 1}


def test_broken_quotes_and_oversized_cells_are_refused() -> None:
    with pytest.raises(DossierError, match="is no CSV"):
        parse(f'2024,FY,assets,"{"5" * 200_000}",KRW,1,')


def test_oversized_file_is_refused() -> None:
    with pytest.raises(DossierError, match="at most"):
        parse_statements_csv(b"x" * (10 * 2**20 + 1), file_name="statements.csv")


def test_header_alone_gives_no_figures() -> None:
    assert parse().figures == ()
