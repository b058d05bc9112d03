"""The judge of results against `expected.json`, on a dossier small enough to see through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.expected import identity, judge, read_expected
from tests.support.sources import evidence_file, quote_is_verbatim

TEXT = "앞 🔥 회사가 소송을 제기했다"


@pytest.fixture
def dossier(tmp_path: Path) -> Path:
    """A dossier of one figure, one bank value, one document and two events."""
    (tmp_path / "events").mkdir()
    (tmp_path / "documents" / "public").mkdir(parents=True)
    events = {"ours": "https://a.example/1", "theirs": "https://b.example/2"}
    for name, url in events.items():
        row = {"url": url, "title": "제목", "text": TEXT}
        (tmp_path / "events" / f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    (tmp_path / "documents" / "public" / "notice.txt").write_text("공고 " * 60, "utf-8")
    (tmp_path / "corp.json").write_text(json.dumps({"name": "회사", "ceo_name": "서도윤"}), "utf-8")
    (tmp_path / "bank.json").write_text(
        json.dumps({"kyc_status": {"last_updated": "2024-01-15"}, "loan": [{"secured": True}]}), "utf-8"
    )
    (tmp_path / "statements.csv").write_text(
        "fiscal_year,period,concept,value,currency,unit,source\n2024,FY,부채총계,57000,KRW,1000000,x\n",
        "utf-8",
    )
    expect(tmp_path, [{"rule_id": "F-DEBT", "direction": "RISK", "evidence_file": "statements.csv"}], [])
    return tmp_path


def expect(dossier: Path, expected: list[dict[str, str]], must_not: list[dict[str, str]]) -> None:
    entries = [[{**entry, "why": "because"} for entry in part] for part in (expected, must_not)]
    content = {"expected": entries[0], "must_not": entries[1], "others_max": 1}
    (dossier / "expected.json").write_text(json.dumps(content), "utf-8")


def evidence(ref_type: str, ref: str, **more: Any) -> dict[str, Any]:
    return {"ref_type": ref_type, "ref": ref, "quote": "x", **more}


def signal(*places: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "rule_id": None,
        "event_type": "FINANCIAL_STATEMENT_UPDATE",
        "direction": "RISK",
        "strength": "HIGH",
        "confidence": "LOW",
        "title": "a title",
        "evidence": list(places),
        **more,
    }


DEBT = signal(evidence("SNAPSHOT_KEYPATH", "/statements/FY2024/liabilities"), rule_id="F-DEBT")
NEWS = signal(evidence("URL", "https://a.example/1"), event_type="LEGAL_PROCEEDING")


def result(*signals: dict[str, Any], below_cut: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"signals": list(signals), "below_cut": list(below_cut)}


def test_expected_signal_is_found_above_or_below_the_cut(dossier: Path) -> None:
    assert judge(result(DEBT), dossier).is_met
    assert judge(result(below_cut=(DEBT,)), dossier).is_met


@pytest.mark.parametrize("changed", [{"direction": "OPPORTUNITY"}, {"rule_id": "F-LIQ"}, {"evidence": []}])
def test_signal_that_differs_in_one_key_leaves_the_expectation_missing(
    dossier: Path, changed: dict[str, Any]
) -> None:
    verdict = judge(result({**DEBT, **changed}), dossier)
    assert verdict.missing == ("F-DEBT RISK statements.csv: because",)
    assert len(verdict.others) == 1
    assert not verdict.is_met


def test_forbidden_file_is_seen_among_several_pieces_of_evidence(dossier: Path) -> None:
    expect(dossier, [], [{"evidence_file": "events/theirs.jsonl"}])
    mixed = signal(evidence("URL", "https://a.example/1"), evidence("URL", "https://b.example/2"))
    assert judge(result(NEWS), dossier).is_met
    verdict = judge(result(mixed), dossier)
    assert len(verdict.forbidden) == 1
    assert not verdict.is_met


def test_forbidden_confidence_lets_a_lower_one_pass_as_an_other(dossier: Path) -> None:
    expect(dossier, [], [{"evidence_file": "events/ours.jsonl", "confidence": "HIGH"}])
    assert judge(result(NEWS), dossier).is_met
    assert not judge(result({**NEWS, "confidence": "HIGH"}), dossier).is_met


def test_more_others_than_allowed_are_refused(dossier: Path) -> None:
    assert judge(result(DEBT, NEWS), dossier).is_met
    verdict = judge(result(DEBT, NEWS, {**NEWS, "direction": "NEUTRAL"}), dossier)
    assert len(verdict.others) == 2
    assert not verdict.is_met


def test_misspelt_key_is_refused(dossier: Path) -> None:
    expect(dossier, [{"rule": "F-DEBT"}], [])
    with pytest.raises(ValueError, match="rule"):
        read_expected(dossier)


@pytest.mark.parametrize(
    ("place", "file"),
    [
        (evidence("SNAPSHOT_KEYPATH", "/statements/FY2024/liabilities"), "statements.csv"),
        (evidence("SNAPSHOT_KEYPATH", "/kyc_status/last_updated"), "bank.json"),
        (evidence("SNAPSHOT_KEYPATH", "/corp/kyc_status/last_updated"), "bank.json"),
        (evidence("SNAPSHOT_KEYPATH", "/corp/ceo_name"), "corp.json"),
        (evidence("DOC_PAGE", "notice.txt:1"), "documents/public/notice.txt"),
        (evidence("DOC_PAGE", "documents/public/notice.txt:1"), "documents/public/notice.txt"),
        (evidence("DOC_PAGE", "absent.txt:1"), None),
        (evidence("URL", "https://b.example/2"), "events/theirs.jsonl"),
        (evidence("URL", "https://c.example/3"), None),
    ],
)
def test_evidence_is_traced_to_its_file(dossier: Path, place: dict[str, Any], file: str | None) -> None:
    assert evidence_file(place, dossier) == file


def test_quote_must_stand_at_its_offsets(dossier: Path) -> None:
    start = TEXT.index("소송")
    place = evidence("URL", "https://a.example/1", char_start=start, char_end=start + 2)
    assert quote_is_verbatim({**place, "quote": "소송"}, dossier)
    assert not quote_is_verbatim({**place, "quote": "소장"}, dossier)
    assert not quote_is_verbatim({**place, "quote": "소송", "char_start": start + 1}, dossier)


@pytest.mark.parametrize(
    ("pointer", "quote", "holds"),
    [
        ("/statements/FY2024/liabilities", "57000000000", True),
        ("/statements/FY2024/liabilities/value", "57,000,000,000", True),
        ("/statements/FY2024/liabilities", "57000", False),
        ("/kyc_status/last_updated", "2024-01-15", True),
        ("/corp/kyc_status/last_updated", "2024-01-16", False),
        ("/loan/0/secured", "true", True),
        ("/loan/0/secured", "false", False),
        ("/corp/ceo_name", "서도윤", True),
    ],
)
def test_snapshot_quote_must_be_the_value_of_the_file(
    dossier: Path, pointer: str, quote: str, holds: bool
) -> None:
    assert quote_is_verbatim(evidence("SNAPSHOT_KEYPATH", pointer) | {"quote": quote}, dossier) is holds


def test_two_runs_of_a_signal_have_one_identity_whatever_its_figures(dossier: Path) -> None:
    again = {**DEBT, "title": "other words"}
    assert identity(DEBT, dossier) == identity(again, dossier)
    assert identity(DEBT, dossier) != identity({**DEBT, "strength": "MED"}, dossier)
