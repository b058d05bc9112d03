"""What a run has gathered, read back from the tables in the form in which rules and checks take it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from rkyc.providers.llm.types import DataClass
from rkyc.steps.kyc.events.match import Identity, fold
from rkyc.steps.kyc.events.regions import find_address_places
from rkyc.steps.kyc.rules.documents import PageView
from rkyc.steps.kyc.rules.events import EventView
from rkyc.steps.kyc.schemas import CorpIn
from rkyc.steps.kyc.vocabulary import EntityRole, MatchBasis, SourceGrade
from rkyc.store.kyc import documents, events
from rkyc.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Material:
    """Pages by name and number, events by story; `company` knows the places of its own papers."""

    pages: tuple[PageView, ...]
    events: tuple[EventView, ...]
    company: Identity


async def read_material(conn: Connection, job_id: UUID, corp: CorpIn) -> Material:
    """Read the papers and events of a run."""
    pages = await read_pages(conn, job_id)
    found = tuple(
        EventView(
            url=row["url"],
            title=row["title"],
            text=row["text"],
            grade=SourceGrade(row["grade"]),
            cluster_no=row["cluster_no"],
            score=round(row["score"], 2),
            basis=MatchBasis(row["basis"]),
            role=EntityRole(row["role"]),
            source=row["source"],
            published_at=row["published_at"],
            lang=row["lang"],
            source_file=row["source_file"],
        )
        for row in await events.read_events(conn, job_id)
        if row["basis"] is not None
    )
    return Material(pages, found, identify(corp, pages))


async def read_pages(conn: Connection, job_id: UUID) -> tuple[PageView, ...]:
    """Read the texts of a run's papers."""
    return tuple(
        PageView(row["name"], row["page_no"], row["text"], DataClass(row["data_class"]))
        for row in await documents.read_pages(conn, job_id)
    )


def identify(corp: CorpIn, pages: Iterable[PageView]) -> Identity:
    """Gather what tells this company from its namesakes."""
    places = {place for page in pages for place in find_address_places(fold(page.text))}
    return Identity(
        name=fold(corp.name),
        name_en=corp.name_en,
        aliases=tuple(fold(alias) for alias in corp.aliases),
        biz_no=corp.biz_no,
        corp_reg_no=corp.corp_reg_no,
        industry_code=corp.industry_code,
        ceo_name=corp.ceo_name,
        listed_code=corp.listed_code,
        places=frozenset(places),
    )
