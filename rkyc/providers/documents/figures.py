"""Figures of statements, from `statements.csv`: checked, mapped to canonical concepts, exact.

A row that can't be read is the sender's mistake and refuses the file with its place, all such rows at
once. A concept that nobody knows is a warning, its row is left out. Where two rows give one figure
two values the first stands, and a warning names both. Amounts are absolute: value times unit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rkyc.errors import DossierError
from rkyc.providers.documents.concepts import Concept, Sign, find_concept
from rkyc.providers.documents.numbers import multiply, parse_number
from rkyc.providers.documents.text import decode, make_storable
from rkyc.providers.documents.types import DocumentWarning

PERIODS = ("FY", "Q1", "Q2", "Q3", "Q4")
UNITS = (1, 1_000, 1_000_000)
COLUMNS = ("fiscal_year", "period", "concept", "value", "currency", "unit", "source")
BYTES_MAX = 10 * 2**20
ROWS_MAX = 100_000

_OPTIONAL = "source"
_SHOWN_ROWS_MAX = 20
_NAME_CHARS_MAX = 80


@dataclass(frozen=True, slots=True)
class Figure:
    """One amount. `value` is absolute; `raw_value` is what the source wrote, in `unit`.

    `ref` is `file name:line` of a table, `file name#element@context` of an XBRL instance; a `source`
    that begins with "derived:" tells how the value was computed from two others.
    """

    fiscal_year: int
    period: str
    concept: str
    value: Decimal
    currency: str
    unit: int
    raw_value: str
    source: str | None
    ref: str

    @property
    def key(self) -> tuple[int, str, str]:
        """What one figure is: fiscal year, period, concept."""
        return (self.fiscal_year, self.period, self.concept)


@dataclass(frozen=True, slots=True)
class FiguresResult:
    """Figures in order of their keys, one for each key."""

    figures: tuple[Figure, ...]
    warnings: tuple[DocumentWarning, ...] = ()


class _BadCellError(ValueError):
    """A cell that can't be read: its column and what was expected there."""

    def __init__(self, column: str, expected: str) -> None:
        super().__init__(expected)
        self.column = column
        self.expected = expected


def parse_statements_csv(data: bytes, *, file_name: str) -> FiguresResult:
    """Read the rows of a statements table; columns may stand in any order, further ones are ignored.

    Raises:
        DossierError: no header, or rows that can't be read; `details` hold file, line and the bad rows.
    """
    if len(data) > BYTES_MAX:
        raise DossierError(
            f"{file_name}: {len(data)} bytes, at most {BYTES_MAX} are read; give one row a figure",
            {"file": file_name},
        )
    text, decode_warnings = decode(data)
    figures: list[Figure] = []
    warnings = [*decode_warnings]
    bad_rows: list[dict[str, Any]] = []
    for line, row in _rows(make_storable(text), file_name):
        try:
            found = _read_row(row, file_name, line)
        except _BadCellError as error:
            bad_rows.append({"line": line, "column": error.column, "expected": error.expected})
            continue
        if isinstance(found, Figure):
            figures.append(found)
        else:
            warnings.append(found)
    if bad_rows:
        raise _bad_rows_error(file_name, bad_rows)
    merged = keep_first(figures)
    return FiguresResult(merged.figures, (*warnings, *merged.warnings))


def merge_figures(results: Iterable[FiguresResult]) -> FiguresResult:
    """Join the figures of several files; of two values for one figure the earlier file's stands."""
    parts = list(results)
    merged = keep_first(figure for part in parts for figure in part.figures)
    return FiguresResult(
        merged.figures, (*(warning for part in parts for warning in part.warnings), *merged.warnings)
    )


def keep_first(figures: Iterable[Figure]) -> FiguresResult:
    """Keep one figure a key, the first, and sort; warn where a later one has another value."""
    kept: dict[tuple[int, str, str], Figure] = {}
    warnings = []
    for figure in figures:
        first = kept.setdefault(figure.key, figure)
        if (first.value, first.currency) != (figure.value, figure.currency):
            message = (
                f"{figure.concept} of {figure.period}{figure.fiscal_year} has two values: "
                f"{first.ref} stands, {figure.ref} was left out"
            )
            warnings.append(DocumentWarning("conflicting_figure", message))
    return FiguresResult(tuple(sorted(kept.values(), key=lambda figure: figure.key)), tuple(warnings))


def signed(value: Decimal, concept: Concept) -> Decimal:
    """Sign a value that came under a name with its own view of what is positive."""
    if not value or concept.sign is Sign.AS_IS:
        return value
    return -abs(value) if concept.sign is Sign.LOSS else value.copy_negate()


def _rows(text: str, file_name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Give each row that is not blank with the line on which it ends; the header is line 1."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        missing = [column for column in COLUMNS if column not in header and column != _OPTIONAL]
        if missing:
            raise DossierError(
                f"{file_name}: line 1 lacks {', '.join(missing)}; the header must be {','.join(COLUMNS)}",
                {"file": file_name, "line": 1},
            )
        for count, cells in enumerate(reader):
            if count >= ROWS_MAX:
                raise DossierError(
                    f"{file_name}: more than {ROWS_MAX} rows; give one row a figure",
                    {"file": file_name, "line": reader.line_num},
                )
            if any(cell.strip() for cell in cells):
                yield reader.line_num, _row(header, cells)
    except csv.Error as error:
        raise DossierError(
            f"{file_name}: line {reader.line_num} is no CSV ({error}); check its quotes",
            {"file": file_name, "line": reader.line_num},
        ) from error


def _row(header: list[str], cells: list[str]) -> Mapping[str, str]:
    # The surplus goes under a name that no column can have.
    surplus = {"": "surplus"} if any(cell.strip() for cell in cells[len(header) :]) else {}
    return {**dict(zip(header, (cell.strip() for cell in cells), strict=False)), **surplus}


def _read_row(row: Mapping[str, str], file_name: str, line: int) -> Figure | DocumentWarning:
    if row.get("") == "surplus":
        raise _BadCellError("value", "as many cells as the header has; quote a number that holds commas")
    fiscal_year = _read_year(row.get("fiscal_year", ""))
    period = row.get("period", "").upper()
    if period not in PERIODS:
        raise _BadCellError("period", f"one of {', '.join(PERIODS)}")
    raw_value = row.get("value", "")
    try:
        value = parse_number(raw_value)
    except ValueError as error:
        raise _BadCellError(
            "value", "a plain number such as -1234.5; leave the row out if there is none"
        ) from error
    currency = row.get("currency", "").upper()
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        raise _BadCellError("currency", "a code of three letters such as KRW")
    unit = _read_unit(row.get("unit", ""))
    name = row.get("concept", "")
    if not name:
        raise _BadCellError("concept", "the name of an account")
    concept = find_concept(name)
    if concept is None:
        message = (
            f"{file_name}:{line}: the concept {name[:_NAME_CHARS_MAX]!r} is not known; the row was left out"
        )
        return DocumentWarning("unknown_concept", message)
    amount = multiply(signed(value, concept), Decimal(unit))
    source = row.get(_OPTIONAL) or None
    ref = f"{file_name}:{line}"
    return Figure(fiscal_year, period, concept.name, amount, currency, unit, raw_value, source, ref)


def _read_year(text: str) -> int:
    if len(text) == 4 and text.isascii() and text.isdigit() and 1900 <= int(text) <= 2199:
        return int(text)
    raise _BadCellError("fiscal_year", "a year of four digits such as 2024")


def _read_unit(text: str) -> int:
    try:
        value = parse_number(text)
    except ValueError:
        value = Decimal(0)
    if value not in UNITS:
        raise _BadCellError("unit", f"one of {', '.join(map(str, UNITS))}")
    return int(value)


def _bad_rows_error(file_name: str, bad_rows: list[dict[str, Any]]) -> DossierError:
    first = bad_rows[0]
    more = f" (and {len(bad_rows) - 1} more)" if len(bad_rows) > 1 else ""
    return DossierError(
        f"{file_name}: line {first['line']}, column {first['column']}: expected {first['expected']}{more}; "
        "correct the file and submit again",
        {
            "file": file_name,
            "line": first["line"],
            "column": first["column"],
            "rows": bad_rows[:_SHOWN_ROWS_MAX],
        },
    )
