"""The rules on who owns and who leads (G-*): a name that differs from the earlier snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rkyc.steps.kyc.pointers import read_number
from rkyc.steps.kyc.rules.facts import Facts
from rkyc.steps.kyc.rules.findings import Finding, highest

_HOLDER = "/kyc_status/largest_holder/name"
_CEO = "/corp/ceo_name"
_SEPARATORS = re.compile(r"[\s·,.]+")


def find_in_ownership(facts: Facts) -> list[Finding]:
    """Return at most one finding per rule; none without an earlier snapshot."""
    return [*highest(_owner(facts)), *highest(_ceo(facts))]


def _owner(facts: Facts) -> Iterator[Finding]:
    for now, before in ((_HOLDER, _HOLDER), (_largest(facts.doc), _largest(facts.previous))):
        if now is None or before is None:
            continue
        if facts.text(now) is not None and facts.earlier_text(before) is not None:
            yield from _renamed(facts, "G-OWNER", now, before)
            return


def _ceo(facts: Facts) -> Iterator[Finding]:
    yield from _renamed(facts, "G-CEO", _CEO, _CEO)


def _renamed(facts: Facts, rule_id: str, now_at: str, before_at: str) -> Iterator[Finding]:
    now, before = facts.text(now_at), facts.earlier_text(before_at)
    if now is not None and before is not None and _key(now) != _key(before):
        yield Finding(rule_id, "changed", (now_at,), {"name": now, "name_before": before})


def _largest(doc: dict[str, object] | None) -> str | None:
    """Return the pointer of the one largest holder in `corp.shareholders`; None where two are equal."""
    corp = (doc or {}).get("corp")
    holders = corp.get("shareholders") if isinstance(corp, dict) else None
    if not isinstance(holders, list):
        return None
    shares = [
        (read_number(doc, f"/corp/shareholders/{index}/share_pct"), index) for index in range(len(holders))
    ]
    ranked = sorted(((share, index) for share, index in shares if share is not None), reverse=True)
    if not ranked or len(ranked) < len(holders) or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return f"/corp/shareholders/{ranked[0][1]}/name"


def _key(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()
