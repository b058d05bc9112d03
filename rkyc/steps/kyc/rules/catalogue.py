"""The rules as data: what each is about, its bands and their thresholds.

A rule gives at most one risk signal per period, of its highest band that holds. Thresholds are in the
unit that the band's comment names; `>` rules do not fire on the threshold itself, changes (`±10 %`) do.
Ids are stable: reports, decisions and signatures name them. The rules about papers (X-*) are looked for
in `documents`, their entries stand with that step's code.

Source of the conditions: the early-warning catalogue of the project's domain notes, after EBA
GL/2020/06 and Korean bank practice.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from rkyc.steps.kyc.vocabulary import EventType, ImpactDirection, Level, RiskCategory

_H, _M, _L = Level.HIGH, Level.MED, Level.LOW
_FIN, _OPS, _MKT = RiskCategory.FINANCIAL, RiskCategory.OPERATIONAL, RiskCategory.MARKET
_STATEMENT = EventType.FINANCIAL_STATEMENT_UPDATE
_SEVERITY = {_H: 4, _M: 3, _L: 2}


@dataclass(frozen=True, slots=True)
class Band:
    """One condition of a rule: how grave it is, and where it begins."""

    name: str
    strength: Level
    probability: Level
    severity: int
    threshold: Decimal | None = None

    @property
    def rank(self) -> tuple[int, int, int]:
        """Greater is graver."""
        return (self.severity, self.strength.rank, self.probability.rank)


@dataclass(frozen=True, slots=True)
class Rule:
    rule_id: str
    event_type: EventType
    category: RiskCategory
    bands: tuple[Band, ...]
    direction: ImpactDirection = ImpactDirection.RISK

    def band(self, name: str) -> Band:
        """Return a band by its name; an unknown one is the caller's bug."""
        return next(band for band in self.bands if band.name == name)

    def threshold(self, name: str) -> Decimal:
        """Return where a band begins."""
        threshold = self.band(name).threshold
        if threshold is None:
            raise LookupError(f"band {name} of {self.rule_id} has no threshold")
        return threshold


def _band(
    name: str,
    strength: Level,
    threshold: int | str | None = None,
    *,
    probability: Level | None = None,
    severity: int | None = None,
) -> Band:
    return Band(
        name=name,
        strength=strength,
        probability=probability or (_M if strength is _H else strength),
        severity=severity or _SEVERITY[strength],
        threshold=None if threshold is None else Decimal(threshold),
    )


_FIGURES = (
    Rule(
        "F-DEBT",
        _STATEMENT,
        _FIN,
        (
            _band("no_equity", _H, 0, probability=_H, severity=5),  # equity at most, absolute
            _band("very_high", _H, 300, probability=_H),  # liabilities / equity, per cent
            _band("rise", _H, 50),  # points of that ratio in a year
            _band("high", _M, 200),
        ),
    ),
    Rule(
        "F-LIQ", _STATEMENT, _FIN, (_band("very_low", _H, 100, probability=_H), _band("low", _M, 120))
    ),  # per cent
    Rule(
        "F-COVER",
        _STATEMENT,
        _FIN,
        (_band("three_years", _H, 1, probability=_H, severity=5), _band("low", _H, "1.5")),  # times
    ),
    Rule("F-LOSS", _STATEMENT, _FIN, (_band("three_years", _H, 0, probability=_H), _band("loss", _H, 0))),
    Rule("F-REV", _STATEMENT, _FIN, (_band("steep", _H, -20), _band("fall", _M, -10))),  # per cent in a year
    Rule("F-OP", _STATEMENT, _FIN, (_band("fall", _H, -30),)),
    Rule(
        "F-IMPAIR", _STATEMENT, _FIN, (_band("whole", _H, 0, probability=_H, severity=5), _band("part", _M))
    ),
    Rule(
        "O-REV",
        _STATEMENT,
        _FIN,
        (_band("steep", _H, 20), _band("rise", _M, 10)),
        ImpactDirection.OPPORTUNITY,
    ),
    Rule("O-OP", _STATEMENT, _FIN, (_band("rise", _H, 30),), ImpactDirection.OPPORTUNITY),
)
_BANK = (
    Rule(
        "D-OVERDUE",
        EventType.OVERDUE_FLAG_ON,
        _FIN,
        (_band("days", _H, 30, probability=_H), _band("flag", _H, probability=_H)),  # days
    ),
    Rule(
        "D-GRADE", EventType.INTERNAL_RISK_GRADE_CHANGE, _FIN, (_band("steep", _H, 2), _band("fall", _M, 1))
    ),
    Rule(
        "O-GRADE",
        EventType.INTERNAL_RISK_GRADE_CHANGE,
        _FIN,
        (_band("steep", _H, 2), _band("rise", _M, 1)),  # notches
        ImpactDirection.OPPORTUNITY,
    ),
    Rule("D-EXPOSURE", EventType.LOAN_EXPOSURE_CHANGE, _FIN, (_band("steep", _H, 30), _band("rise", _M, 10))),
    Rule(
        "D-COLLATERAL",
        EventType.COLLATERAL_CHANGE,
        _FIN,
        (
            _band("ltv_very_high", _H, 80),  # per cent
            _band("ltv_high", _M, 70),
            _band("fall", _M, -10),  # per cent against the earlier snapshot
            _band("old_appraisal", _M, 365, probability=_L),  # days
        ),
    ),
    Rule("D-KYC", EventType.KYC_REFRESH, _OPS, (_band("old", _M, 365),)),  # days
    Rule("D-UNSECURED", EventType.LOAN_EXPOSURE_CHANGE, _FIN, (_band("high", _L, 50),)),  # per cent
    Rule("D-FX", EventType.LOAN_EXPOSURE_CHANGE, _MKT, (_band("high", _M, 30),)),  # per cent
    Rule("D-DEPOSIT", EventType.LOAN_EXPOSURE_CHANGE, _FIN, (_band("low", _M, 70), _band("falling", _M, 3))),
    Rule(
        "D-CARD",
        EventType.LOAN_EXPOSURE_CHANGE,
        _FIN,
        (_band("surge", _M, 200), _band("limit", _M, 90), _band("entertainment", _M, 30)),  # per cent
    ),
    Rule(
        "D-TRADE",
        EventType.LOAN_EXPOSURE_CHANGE,
        _FIN,
        (
            _band("overdue", _H, 0, probability=_H),  # absolute
            _band("hedge", _H, 30),  # per cent, at least
            _band("collection", _M, 90),  # days
            _band("usance", _M, 90),  # per cent
            _band("country", _M, 50),  # per cent
        ),
    ),
)
_OWNERSHIP = (
    Rule("G-OWNER", EventType.OWNERSHIP_CHANGE, _OPS, (_band("changed", _M),)),
    Rule("G-CEO", EventType.GOVERNANCE_CHANGE, _OPS, (_band("changed", _M),)),
)

RULES = MappingProxyType({rule.rule_id: rule for rule in (*_FIGURES, *_BANK, *_OWNERSHIP)})
