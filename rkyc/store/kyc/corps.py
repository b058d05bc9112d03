"""The companies: finding the one that a dossier is about, and keeping what is known of it.

Same company: business number, else corporate registration number, else country and listed code, else
the normalised name; the first of these that both sides have decides. Two runs of one new company at
once end with one row.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from rkyc.errors import DatabaseConnectionError
from rkyc.store.pool import Connection, Record, fetch_row, fetch_value
from rkyc.store.statements import load

_SQL = load(__file__)
# Legal forms around a name say nothing about which company it is.
_LEGAL_FORM = re.compile(
    r"\(주\)|㈜|주식회사|유한회사|\b(?:co\.?,?\s*ltd|inc|corp|corporation|ltd|llc|plc|limited|company)\b\.?",
    re.IGNORECASE,
)
_NOT_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class CorpFields:
    """A company as a dossier describes it; numbers as written, they are normalised here."""

    name: str
    name_en: str | None = None
    aliases: tuple[str, ...] = ()
    biz_no: str | None = None
    corp_reg_no: str | None = None
    industry_code: str | None = None
    ceo_name: str | None = None
    country: str | None = None
    listed_code: str | None = None
    currency: str | None = None


def normalise_name(name: str) -> str:
    """Return the name without legal form, case, space and punctuation: `㈜한빛 정밀` is `한빛정밀`."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFC", name).replace("㈜", " ")).casefold()
    stripped = _NOT_WORD.sub("", _LEGAL_FORM.sub(" ", folded))
    return stripped or _NOT_WORD.sub("", folded) or folded.strip()


async def ensure_corp(conn: Connection, corp: CorpFields) -> int:
    """Return the id of the company, adding a row with its identification when it is new. Repeatable."""
    keys = _identify(corp)
    for _ in range(3):
        found = await fetch_value(conn, _SQL["find_corp"], **keys)
        if found is None:
            found = await fetch_value(
                conn, _SQL["add_corp"], name=corp.name, identity_key=_identity_key(keys), **keys
            )
        if found is not None:
            return int(found)
    raise DatabaseConnectionError(
        f"company {corp.name!r}: another run is changing it at this moment; tried again by the retry policy"
    )


async def update_corp(conn: Connection, corp_id: int, corp: CorpFields) -> None:
    """Bring the row up to what this dossier says; what it leaves out stays."""
    await conn.execute(
        _SQL["update_corp"].text,
        *_SQL["update_corp"].args(
            corp_id=corp_id,
            name=corp.name,
            name_en=corp.name_en,
            aliases=list(corp.aliases),
            industry_code=corp.industry_code,
            ceo_name=corp.ceo_name,
            currency=corp.currency,
            **_identify(corp),
        ),
    )


async def read_corp(conn: Connection, corp_id: int) -> Record | None:
    """Return the company's row, or None."""
    return await fetch_row(conn, _SQL["read_corp"], corp_id=corp_id)


async def lock_corp(conn: Connection, corp_id: int) -> bool:
    """Hold the company for the rest of the transaction; False when there is none."""
    return await fetch_value(conn, _SQL["lock_corp"], corp_id=corp_id) is not None


def _identify(corp: CorpFields) -> dict[str, str | None]:
    return {
        "biz_no": _compact(corp.biz_no),
        "corp_reg_no": _compact(corp.corp_reg_no),
        "listed_code": _compact(corp.listed_code),
        "country": corp.country.strip().upper() or None if corp.country else None,
        "name_key": normalise_name(corp.name),
    }


def _identity_key(keys: dict[str, str | None]) -> str:
    if keys["biz_no"]:
        return f"biz:{keys['biz_no']}"
    if keys["corp_reg_no"]:
        return f"reg:{keys['corp_reg_no']}"
    if keys["listed_code"]:
        return f"listed:{keys['country'] or ''}:{keys['listed_code']}"
    return f"name:{keys['name_key']}"


def _compact(number: str | None) -> str | None:
    """`123-45-67890` and `1234567890` are the same number."""
    if number is None:
        return None
    return re.sub(r"[\s\-–.]", "", unicodedata.normalize("NFKC", number)).upper() or None
