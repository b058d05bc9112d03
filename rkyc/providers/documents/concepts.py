"""The names that a figure may have, and the canonical concept behind each.

Canonical names, Korean account names and US-GAAP elements are known. Only names that mean the whole
amount are listed: short-term borrowings are not `borrowings`, restricted cash is not `cash`.
A name that is a loss or a deficit by itself (당기순손실, 결손금) gives a negative figure.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum

CANONICAL = (
    "revenue", "cost_of_sales", "operating_income", "interest_expense", "net_interest_expense", "net_income",
    "assets", "current_assets", "cash", "receivables", "inventories", "liabilities", "current_liabilities",
    "borrowings", "equity", "paid_in_capital", "retained_earnings", "operating_cash_flow",
)  # fmt: skip


class Sign(Enum):
    """How the value under a name becomes the value of its concept."""

    AS_IS = "as is"
    REVERSED = "reversed"  # The name counts what the concept counts negatively.
    LOSS = "loss"  # The name says loss: negative, however the value is signed.


@dataclass(frozen=True, slots=True)
class Concept:
    """A canonical name, and how to sign a value that came under another name."""

    name: str
    sign: Sign = Sign.AS_IS


# In order of precedence: of two elements that cover the same years, the first is taken.
US_GAAP: dict[str, tuple[str, ...]] = {
    "revenue": (
        "Revenues",
        "RevenueFromContractWithCustomerExcludingAssessedTax",
        "SalesRevenueNet",
        "RevenueFromContractWithCustomerIncludingAssessedTax",
        "SalesRevenueGoodsNet",
    ),
    "cost_of_sales": ("CostOfRevenue", "CostOfGoodsAndServicesSold", "CostOfGoodsSold"),
    "operating_income": ("OperatingIncomeLoss",),
    "interest_expense": ("InterestExpense", "InterestExpenseNonoperating", "InterestExpenseDebt"),
    "net_interest_expense": ("InterestIncomeExpenseNet", "InterestIncomeExpenseNonoperatingNet"),
    "net_income": ("NetIncomeLoss", "ProfitLoss"),
    "assets": ("Assets",),
    "current_assets": ("AssetsCurrent",),
    "cash": ("CashAndCashEquivalentsAtCarryingValue", "Cash"),
    "receivables": (
        "AccountsReceivableNetCurrent",
        "ReceivablesNetCurrent",
        "AccountsAndOtherReceivablesNetCurrent",
    ),
    "inventories": ("InventoryNet",),
    "liabilities": ("Liabilities",),
    "current_liabilities": ("LiabilitiesCurrent",),
    "borrowings": ("DebtLongtermAndShorttermCombinedAmount", "DebtAndCapitalLeaseObligations"),
    "equity": (
        "StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest",
        "StockholdersEquity",
    ),
    "paid_in_capital": ("CommonStockValue",),
    "retained_earnings": ("RetainedEarningsAccumulatedDeficit",),
    "operating_cash_flow": (
        "NetCashProvidedByUsedInOperatingActivities",
        "NetCashProvidedByUsedInOperatingActivitiesContinuingOperations",
    ),
}
# These elements count income as positive; the concept is an expense.
_REVERSED_ELEMENTS = frozenset(US_GAAP["net_interest_expense"])

_KOREAN: dict[str, tuple[str, ...]] = {
    "revenue": ("매출액", "매출", "수익(매출액)", "영업수익"),
    "cost_of_sales": ("매출원가",),
    "operating_income": ("영업이익(손실)", "영업이익", "영업손익"),
    "interest_expense": ("이자비용",),
    "net_interest_expense": ("순이자비용",),
    "net_income": ("당기순이익(손실)", "당기순이익", "당기순손익", "분기순이익", "분기순이익(손실)", "반기순이익", "반기순이익(손실)"),
    "assets": ("자산총계", "총자산", "자산합계"),
    "current_assets": ("유동자산", "유동자산합계", "유동자산계"),
    "cash": ("현금및현금성자산",),
    "receivables": ("매출채권", "매출채권및기타채권", "매출채권및기타유동채권"),
    "inventories": ("재고자산",),
    "liabilities": ("부채총계", "총부채", "부채합계"),
    "current_liabilities": ("유동부채", "유동부채합계", "유동부채계"),
    "borrowings": ("차입금", "총차입금", "차입금총계", "차입금합계"),
    "equity": ("자본총계", "자기자본", "자본합계"),
    "paid_in_capital": ("자본금", "납입자본금"),
    "retained_earnings": ("이익잉여금(결손금)", "이익잉여금"),
    "operating_cash_flow": (
        "영업활동현금흐름", "영업활동으로인한현금흐름", "영업활동순현금흐름", "영업활동으로인한순현금흐름",
    ),
}  # fmt: skip
_KOREAN_LOSSES = {
    "operating_income": ("영업손실",),
    "net_income": ("당기순손실", "분기순손실", "반기순손실"),
    "retained_earnings": ("결손금", "이월결손금", "누적결손금"),
}
# "Ⅰ. 매출액" and "1) 매출액": the number of the line in the printed statement.
_ORDINAL = re.compile(r"^(?:[ivx]+|[0-9]+|[가-하])[.)]")
_PREFIX = re.compile(r"^us-?gaap:?")


def find_concept(name: str) -> Concept | None:
    """Return the concept behind a name as it stands in a statement, None for an unknown name."""
    key = _key(name)
    return _CONCEPTS.get(_PREFIX.sub("", key)) or _CONCEPTS.get(_ORDINAL.sub("", key))


def element_concept(element: str) -> Concept | None:
    """Return the concept of a US-GAAP element, by its exact local name."""
    return _ELEMENTS.get(element)


def _key(name: str) -> str:
    """Fold what does not matter: composed or not, width, case, white space, underscores."""
    return re.sub(r"[\s_]+", "", unicodedata.normalize("NFKC", name)).casefold()


_ELEMENTS = {
    element: Concept(concept, Sign.REVERSED if element in _REVERSED_ELEMENTS else Sign.AS_IS)
    for concept, elements in US_GAAP.items()
    for element in elements
}
_CONCEPTS = {
    **{_key(name): Concept(name) for name in CANONICAL},
    **{_key(element): concept for element, concept in _ELEMENTS.items()},
    **{_key(name): Concept(concept) for concept, names in _KOREAN.items() for name in names},
    **{
        _key(name): Concept(concept, Sign.LOSS) for concept, names in _KOREAN_LOSSES.items() for name in names
    },
}
