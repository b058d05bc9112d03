"""Every word of the report that is not data, in Korean and English.

`Labels.text` refuses an unknown key (a mistake of ours); `Labels.value` shows an unknown code as it
came (a newer writer's value must not break an older reader).
"""

from __future__ import annotations

from dataclasses import dataclass

from rkyc.report.types import Lang
from rkyc.report.words import WORDS

_LANGS: dict[Lang, int] = {"ko": 0, "en": 1}

# Each pair is Korean, English.
_TEXT: dict[str, tuple[str, str]] = {
    "report": ("기업 리스크 분석 보고서", "Corporate risk report"),
    "skip": ("본문으로 건너뛰기", "Skip to content"),
    "contents": ("목차", "Contents"),
    "job": ("작업 번호", "Job"),
    "generated_at": ("작성 시각", "Generated"),
    "status": ("상태", "Status"),
    "stance": ("종합 의견", "Stance"),
    "quality": ("품질 점수", "Quality score"),
    "coverage": ("신호 인용률", "Signals cited"),
    "quotes_found": ("원문 대조", "Quotes matched"),
    "quotes_of": ("{found} / {all}건 일치", "{found} of {all}"),
    "quotes_none": ("인용 없음", "no quotes"),
    "signals_count": ("신호", "Signals"),
    "signals_by_direction": ("위험 {risks}건 · 그 밖 {others}건", "{risks} risk · {others} other"),
    "changes": ("지난 분석과 비교", "Against the last run"),
    "change_count": ("{word} {count}", "{count} {word}"),
    "partial_title": ("일부 자료가 분석에 반영되지 않았습니다", "Analysed in part"),
    "partial": (
        "일부 자료를 읽지 못했거나 일부 작업을 마치지 못했습니다. 결과는 아래 내용을 감안하여 읽어 주십시오.",
        "Something could not be read or done. Read the result with this in mind:",
    ),
    "degraded": ("일부만 수행된 단계: {steps}.", "Steps done in part: {steps}."),
    "todo": ("조치", "What to do"),
    "not_read": ("읽지 못한 쪽 있음", "Pages not read"),
    "warnings": ("경고", "Warnings"),
    "failed": ("분석이 끝나지 못했습니다", "The analysis did not finish"),
    "cancelled": ("작업이 취소되었습니다.", "The job was cancelled."),
    "failed_steps": ("완료된 단계: {steps}", "Completed steps: {steps}"),
    "failed_none": ("완료된 단계가 없습니다.", "No step was completed."),
    "failed_unknown": ("오류 내용이 기록되지 않았습니다.", "No error was recorded."),
    "unfinished": (
        "분석이 아직 끝나지 않았습니다. 아래 내용은 지금까지의 결과입니다.",
        "The analysis has not finished; this is what there is so far.",
    ),
    "insight": ("종합 인사이트", "Insight"),
    "insight_none": ("작성된 인사이트가 없습니다.", "No insight was written."),
    "insight_held": (
        "품질 기준에 미달하여 담당자 검토가 필요한 초안입니다.",
        "Held by the quality gate: a draft that needs review.",
    ),
    "sentence_uncited": ("근거 없음", "no citation"),
    "citation": ("신호 {number}: {title}", "Signal {number}: {title}"),
    "citation_unknown": ("이 보고서에 없는 자료", "not in this report"),
    "page_of": ("{name} {page}쪽", "{name}, p. {page}"),
    "cited_insight": ("인사이트", "Insight"),
    "worst": ("가장 심각한 신호", "Most severe signals"),
    "all_signals": ("주요 신호", "Main signals"),
    "not_reached": ("분석이 이 단계에 이르지 못했습니다.", "The analysis did not get this far."),
    "signals_none": ("확인된 리스크 신호가 없습니다.", "No risk signals were found."),
    "signals_none_more": (
        "검증을 통과한 신호가 없으며, 빈자리를 채우기 위해 만들어 낸 내용도 없습니다.",
        "Nothing passed validation, and nothing was made up to fill the gap.",
    ),
    "worst_none": ("위험 방향의 신호는 없습니다.", "None of the signals points to a risk."),
    "severity": ("심각도", "Severity"),
    "severity_of": ("심각도 {severity}/5 {word}", "Severity {severity}/5 {word}"),
    "direction": ("방향", "Direction"),
    "category": ("분류", "Category"),
    "event_type": ("사건 유형", "Event type"),
    "signal_type": ("신호 유형", "Signal type"),
    "probability": ("가능성", "Probability"),
    "confidence": ("확신도", "Confidence"),
    "strength": ("영향 강도", "Strength"),
    "rule": ("규칙", "Rule"),
    "provider": ("작성 주체", "Made by"),
    "needs_review": ("담당자 검토 필요", "Needs review"),
    "evidence": ("근거", "Evidence"),
    "evidence_none": ("근거가 없습니다.", "No evidence."),
    "evidence_missing": (
        "원문 위치에서 인용문을 확인하지 못했습니다",
        "the quote could not be confirmed at its place in the source",
    ),
    "evidence_no_source": ("원문이 이 보고서에 없습니다", "the source text is not part of this report"),
    "grade": ("출처 등급 {grade}", "source grade {grade}"),
    "show_quote": ("원문에서 보기", "Show in the source"),
    "open_url": ("원본 페이지", "Original page"),
    "derived": ("계산 근거", "Calculated from"),
    "gone": ("더 이상 나타나지 않는 신호 ({count}건)", "Gone since the last run ({count})"),
    "gone_note": (
        "지난 분석에서 보고되었으나 이번 자료에서는 확인되지 않은 신호입니다. 해소되었다는 뜻은 아닙니다.",
        "Reported by the last run and not found in what is known now; that does not say they are resolved.",
    ),
    "below_cut": ("상위 목록에 들지 못한 신호 ({count}건)", "Signals below the cut ({count})"),
    "below_cut_note": (
        "검증은 통과했으나 심각도와 확신도 순위에서 밀린 신호입니다.",
        "They passed validation but ranked lower by severity and confidence.",
    ),
    "dropped": ("제외된 초안 ({count}건)", "Dropped drafts ({count})"),
    "dropped_note": (
        "검증을 통과하지 못해 보고서에 싣지 않은 초안과 그 사유입니다.",
        "Drafts that did not pass validation, and why.",
    ),
    "figures": ("재무 수치", "Figures"),
    "figures_none": ("재무 수치가 제출되지 않았습니다.", "No figures were supplied."),
    "figures_exact": (
        "표의 값은 제출된 그대로이며, 작은 글씨와 그래프의 숫자는 단위에 맞추어 반올림한 것입니다.",
        "The table holds the exact values; small print and labels in the charts are rounded to their unit.",
    ),
    "account": ("계정", "Account"),
    "currency": ("통화", "Currency"),
    "calculated": ("계산값", "calculated"),
    "unit": ("단위: {unit}", "in {unit}"),
    "balance": ("자산 · 부채 · 자본", "Assets, liabilities, equity"),
    "debt_ratio": ("부채비율", "Debt ratio"),
    "current_ratio": ("유동비율", "Current ratio"),
    "about": ("약 ", "≈ "),
    "days": ("{number}일", "{number} days"),
    "entry": ("{number}번째", "no. {number}"),
    "as_of": ("분석 기준일", "the day of the analysis"),
    "previous_place": ("직전 자료의 {place}", "{place} in the earlier snapshot"),
    "statements_of": ("재무제표 {period}", "Statements {period}"),
    "not_meaningful": ("산출 불가", "n/m"),
    "no_value": ("값 없음", "no value"),
    "documents": ("제출 문서", "Documents"),
    "documents_none": ("제출된 문서가 없습니다.", "No documents were supplied."),
    "events_none": ("인용된 외부 뉴스나 공시가 없습니다.", "No news or disclosure is cited."),
    "document": ("문서", "Document"),
    "pages": ("쪽수", "Pages"),
    "ocr_pages": ("문자 인식", "OCR pages"),
    "notes": ("비고", "Notes"),
    "steps": ("수행 단계", "Steps"),
    "step": ("단계", "Step"),
    "attempts": ("시도", "Attempts"),
    "duration": ("소요", "Time"),
    "degraded_mark": ("대체 수행", "degraded"),
    "steps_none": ("수행된 단계가 없습니다.", "No step has run."),
    "usage": ("사용량과 비용", "Usage and cost"),
    "calls": ("제공자 호출", "Provider calls"),
    "tokens_in": ("입력 토큰", "Tokens in"),
    "tokens_out": ("출력 토큰", "Tokens out"),
    "cost": ("비용", "Cost"),
    "sources": ("인용 원문", "Cited sources"),
    "sources_note": (
        "인용된 쪽과 기사의 저장된 본문 전체입니다. 표시된 부분이 각 신호의 근거 문장입니다.",
        "The stored text of every cited page and article in full; the marked passages are the evidence.",
    ),
    "sources_none": ("인용된 원문이 없습니다.", "No source is cited."),
    "values": ("인용된 스냅숏 값", "Cited snapshot values"),
    "item": ("항목", "Item"),
    "pointer": ("위치", "Pointer"),
    "value": ("값", "Value"),
    "quoted_by": ("인용한 신호", "Quoted by"),
    "made_by": ("이 보고서를 만든 것: {providers}.", "Made by: {providers}."),
    "made_offline": (
        "언어 모델 없이 규칙, 기록된 이벤트, 문장 틀로만 작성되었습니다.",
        "No language model took part: rules, recorded events and sentence templates only.",
    ),
    "made_mixed": (
        "규칙이나 문장 틀로 작성된 부분이 있습니다: {providers}.",
        "Parts were made by rules or sentence templates: {providers}.",
    ),
    "disclaimer": (
        "이 보고서는 심사 담당자의 판단을 돕기 위한 자료이며, 모든 신호는 근거 원문과 함께 검토해야 합니다.",
        "This report supports an analyst's judgement; read each signal together with its source.",
    ),
    "back": ("맨 위로", "Back to top"),
}


@dataclass(frozen=True, slots=True)
class Labels:
    """The words of one language."""

    lang: Lang

    def text(self, key: str, **values: object) -> str:
        """Return the phrase with its places filled."""
        phrase = _TEXT[key][_LANGS[self.lang]]
        return phrase.format(**values) if values else phrase

    def value(self, kind: str, code: object) -> str:
        """Return the word for a stored code; the code itself where it is not known, a dash for none."""
        if code is None or code == "":
            return "–"
        pair = WORDS[kind].get(str(code))
        return pair[_LANGS[self.lang]] if pair else str(code)

    def knows(self, kind: str, code: str) -> bool:
        """Tell whether there is a word for a code."""
        return code in WORDS[kind]
