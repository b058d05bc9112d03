"""The closed vocabularies of the risk analysis, spelt as they are stored and shown.

Every enumeration here has a CHECK of the same values in the database. Values never change; new ones
are added at the end. `OTHER_PUBLIC`, `LEGAL_PROCEEDING` and `ADVERSE_MEDIA` extend the ten event types
of the source system, whose list has no place for news about a company. Who may see a piece of data is said
by `providers.llm.types.DataClass`, since it decides which model may read it.
"""

from __future__ import annotations

from enum import StrEnum


class SignalType(StrEnum):
    DIRECT = "DIRECT"
    INDUSTRY = "INDUSTRY"
    ENVIRONMENT = "ENVIRONMENT"


class EventType(StrEnum):
    KYC_REFRESH = "KYC_REFRESH"
    INTERNAL_RISK_GRADE_CHANGE = "INTERNAL_RISK_GRADE_CHANGE"
    OVERDUE_FLAG_ON = "OVERDUE_FLAG_ON"
    LOAN_EXPOSURE_CHANGE = "LOAN_EXPOSURE_CHANGE"
    COLLATERAL_CHANGE = "COLLATERAL_CHANGE"
    OWNERSHIP_CHANGE = "OWNERSHIP_CHANGE"
    GOVERNANCE_CHANGE = "GOVERNANCE_CHANGE"
    FINANCIAL_STATEMENT_UPDATE = "FINANCIAL_STATEMENT_UPDATE"
    INDUSTRY_SHOCK = "INDUSTRY_SHOCK"
    POLICY_REGULATION_CHANGE = "POLICY_REGULATION_CHANGE"
    OTHER_PUBLIC = "OTHER_PUBLIC"
    LEGAL_PROCEEDING = "LEGAL_PROCEEDING"
    ADVERSE_MEDIA = "ADVERSE_MEDIA"


class RiskCategory(StrEnum):
    FINANCIAL = "FINANCIAL"
    LEGAL = "LEGAL"
    REPUTATIONAL = "REPUTATIONAL"
    OPERATIONAL = "OPERATIONAL"
    MARKET = "MARKET"


class ImpactDirection(StrEnum):
    RISK = "RISK"
    OPPORTUNITY = "OPPORTUNITY"
    NEUTRAL = "NEUTRAL"


class Level(StrEnum):
    """Three steps: of impact strength, of confidence, of probability."""

    HIGH = "HIGH"
    MED = "MED"
    LOW = "LOW"

    @property
    def rank(self) -> int:
        """3 for HIGH, 1 for LOW."""
        return {"HIGH": 3, "MED": 2, "LOW": 1}[self.value]


class RiskSignalStatus(StrEnum):
    NEW = "NEW"
    REVIEWED = "REVIEWED"
    CONFIRMED = "CONFIRMED"
    DISMISSED = "DISMISSED"


class DismissReason(StrEnum):
    FALSE_ENTITY = "FALSE_ENTITY"
    NOT_MATERIAL = "NOT_MATERIAL"
    DUPLICATE = "DUPLICATE"
    OUTDATED = "OUTDATED"
    SOURCE_UNRELIABLE = "SOURCE_UNRELIABLE"
    ALREADY_KNOWN = "ALREADY_KNOWN"
    OTHER = "OTHER"


class EvidenceType(StrEnum):
    INTERNAL_FIELD = "INTERNAL_FIELD"
    DOC = "DOC"
    EXTERNAL = "EXTERNAL"


class RefType(StrEnum):
    """How `ref` is read: a JSON pointer into the snapshot, `file name:page` (page from 1), a URL."""

    SNAPSHOT_KEYPATH = "SNAPSHOT_KEYPATH"
    DOC_PAGE = "DOC_PAGE"
    URL = "URL"


class EvidenceCheck(StrEnum):
    """How a quote was found in its source."""

    EXACT = "EXACT"
    NORMALISED = "NORMALISED"
    FUZZY = "FUZZY"
    FAILED = "FAILED"


class SourceType(StrEnum):
    NEWS = "NEWS"
    DISCLOSURE = "DISCLOSURE"
    POLICY = "POLICY"
    REPORT = "REPORT"


class SourceGrade(StrEnum):
    """A: disclosure or authority; B: large media; C: the rest."""

    A = "A"
    B = "B"
    C = "C"


class EntityRole(StrEnum):
    SUBJECT = "SUBJECT"
    PERPETRATOR = "PERPETRATOR"
    VICTIM = "VICTIM"
    MENTIONED = "MENTIONED"


class EventClass(StrEnum):
    """What an external event is about."""

    SUPPLY_DISRUPTION = "SUPPLY_DISRUPTION"
    REGULATION = "REGULATION"
    INVESTMENT_MA = "INVESTMENT_MA"
    FINANCIAL_CHANGE = "FINANCIAL_CHANGE"
    GOVERNANCE = "GOVERNANCE"
    MARKET_SHIFT = "MARKET_SHIFT"
    POLICY_CHANGE = "POLICY_CHANGE"
    COMPETITIVE_ACTION = "COMPETITIVE_ACTION"
    OTHER = "OTHER"


class MatchBasis(StrEnum):
    """Why an event is held to be about a company or its industry."""

    REGISTRATION_NO = "REGISTRATION_NO"
    NAME = "NAME"
    ALIAS = "ALIAS"
    INDUSTRY_CODE = "INDUSTRY_CODE"
    INDUSTRY_GROUP = "INDUSTRY_GROUP"
    MANUAL_SEED = "MANUAL_SEED"
    KEYWORD = "KEYWORD"


class DocType(StrEnum):
    BIZ_REG = "BIZ_REG"
    REGISTRY = "REGISTRY"
    SHAREHOLDERS = "SHAREHOLDERS"
    AOI = "AOI"
    FIN_STATEMENT = "FIN_STATEMENT"
    OTHER = "OTHER"


class IngestStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class Stance(StrEnum):
    CAUTION = "CAUTION"
    MONITORING = "MONITORING"
    STABLE = "STABLE"
    POSITIVE = "POSITIVE"


class ChangeKind(StrEnum):
    """How a risk signal stands to the earlier run of the same company."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    UNCHANGED = "UNCHANGED"
    GONE = "GONE"
