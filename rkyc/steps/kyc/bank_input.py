"""The shape of `bank.json`: the bank's own records, INTERNAL always.

Money is in KRW, lists stand oldest first. Every field is optional, further ones are kept as they are;
a field that is there must have its type, so that no rule reads a wrong one as missing.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _require_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise PydanticCustomError("wrong_shape", "a number is expected, without quotes")
    return value


def _require_day(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_shape", "a date such as 2024-12-31 is expected")
    try:
        day = date.fromisoformat(value)
    except ValueError as error:
        raise PydanticCustomError("wrong_shape", "a date such as 2024-12-31 is expected") from error
    if day.isoformat() != value:
        raise PydanticCustomError("wrong_shape", "a date such as 2024-12-31 is expected")
    return value


def _require_month(value: Any) -> Any:
    try:
        _require_day(f"{value}-01")
    except (ValueError, PydanticCustomError) as error:
        raise PydanticCustomError("wrong_shape", "a month such as 2024-12 is expected") from error
    return value


def _require_flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise PydanticCustomError("wrong_shape", "true or false is expected")
    return value


Number = Annotated[Decimal, BeforeValidator(_require_number)]
Percent = Annotated[Decimal, BeforeValidator(_require_number), Field(ge=0, le=100)]
Days = Annotated[Decimal, BeforeValidator(_require_number), Field(ge=0)]
Flag = Annotated[bool, BeforeValidator(_require_flag)]
Day = Annotated[str, BeforeValidator(_require_day)]
Month = Annotated[str, BeforeValidator(_require_month)]
Text = Annotated[str, Field(max_length=400)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class LargestHolder(_Part):
    name: Text | None = None
    share_pct: Percent | None = None
    as_of: Day | None = None


class KycStatus(_Part):
    completed: Flag | None = None
    last_updated: Day | None = None
    internal_grade: Text | None = None
    largest_holder: LargestHolder | None = None


class Relationship(_Part):
    has_relationship: Flag | None = None
    since: Day | None = None
    products: list[Text] = Field(default=[], max_length=100)


class LoanSummary(_Part):
    total_exposure_krw: Number | None = None
    overdue_flag: Flag | None = None
    overdue_days: Days | None = None
    overdue_amount_krw: Number | None = None
    internal_grade: Text | None = None


class Credit(_Part):
    has_loan: Flag | None = None
    loan_summary: LoanSummary | None = None


class CollateralItem(_Part):
    kind: Text | None = None
    description: Text | None = None
    value_krw: Number | None = None
    secured_krw: Number | None = None
    appraised_at: Day | None = None


class Collateral(_Part):
    types: list[Text] = Field(default=[], max_length=100)
    count: Number | None = None
    total_value_krw: Number | None = None
    secured_exposure_krw: Number | None = None
    items: list[CollateralItem] = Field(default=[], max_length=1000)


class Loan(_Part):
    id: Text | None = None
    product: Text | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    balance_krw: Number | None = None
    limit_krw: Number | None = None
    rate_pct: Number | None = None
    secured: Flag | None = None
    opened_at: Day | None = None
    matures_at: Day | None = None
    overdue_days: Days | None = None


class Deposit(_Part):
    month: Month | None = None
    average_balance_krw: Number | None = None


class Card(_Part):
    month: Month | None = None
    spend_krw: Number | None = None
    limit_krw: Number | None = None
    entertainment_krw: Number | None = None


class Trade(_Part):
    month: Month | None = None
    receivable_krw: Number | None = None
    receivable_overdue_krw: Number | None = None
    collection_days: Days | None = None
    usance_limit_krw: Number | None = None
    usance_used_krw: Number | None = None
    fx_exposure_krw: Number | None = None
    hedged_krw: Number | None = None
    top_country: Text | None = None
    top_country_pct: Percent | None = None


class BankIn(BaseModel):
    """All of `bank.json`; at the top a name that is not known is refused, it may be a misspelt part."""

    model_config = ConfigDict(extra="forbid")

    kyc_status: KycStatus | None = None
    relationship: Relationship | None = None
    credit: Credit | None = None
    collateral: Collateral | None = None
    loan: list[Loan] = Field(default=[], max_length=1000)
    deposit: list[Deposit] = Field(default=[], max_length=1000)
    card: list[Card] = Field(default=[], max_length=1000)
    trade: list[Trade] = Field(default=[], max_length=1000)
