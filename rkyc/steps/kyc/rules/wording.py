"""What the rules say, in Korean and English: a title and a summary for each rule and band.

The braces take values that the rule read or computed; no template holds a digit of its own, so every
number in a text follows from the input. Sentences state what was found; they do not predict.
"""

from __future__ import annotations

from types import MappingProxyType

Texts = tuple[str, str]

_KO: dict[tuple[str, str], Texts] = {
    ("F-DEBT", "no_equity"): (
        "완전자본잠식",
        "{period} 자본총계 {equity}, 부채총계 {liabilities}: 자기자본이 남아 있지 않습니다.",
    ),
    ("F-DEBT", "very_high"): (
        "부채비율 매우 높음: {ratio}",
        "{period} 부채비율은 {ratio}입니다 (부채총계 {liabilities} ÷ 자본총계 {equity}).",
    ),
    ("F-DEBT", "rise"): (
        "부채비율 급등: {ratio}",
        (
            "부채비율 {ratio_before} → {ratio} ({before} {liabilities_before} ÷ {equity_before}, "
            "{period} {liabilities} ÷ {equity})."
        ),
    ),
    ("F-DEBT", "high"): (
        "부채비율 높음: {ratio}",
        "{period} 부채비율은 {ratio}입니다 (부채총계 {liabilities} ÷ 자본총계 {equity}).",
    ),
    ("F-LIQ", "very_low"): (
        "유동비율 매우 낮음: {ratio}",
        (
            "{period} 유동비율은 {ratio}로 유동부채가 유동자산보다 많습니다 "
            "(유동자산 {current_assets} ÷ 유동부채 {current_liabilities})."
        ),
    ),
    ("F-LIQ", "low"): (
        "유동비율 낮음: {ratio}",
        "{period} 유동비율은 {ratio}입니다 (유동자산 {current_assets} ÷ 유동부채 {current_liabilities}).",
    ),
    ("F-COVER", "three_years"): (
        "영업이익으로 이자를 세 해 연속 충당하지 못함",
        (
            "{period} 이자보상배율은 {cover}배(영업이익 {operating_income} ÷ 이자비용 {interest})이며, "
            "{before} {cover_before}배, {before_2} {cover_before_2}배였습니다."
        ),
    ),
    ("F-COVER", "low"): (
        "이자보상배율 낮음: {cover}배",
        "{period} 이자보상배율은 {cover}배입니다 (영업이익 {operating_income} ÷ 이자비용 {interest}).",
    ),
    ("F-LOSS", "three_years"): (
        "세 해 연속 당기순손실",
        (
            "당기순이익이 {before_2} {net_income_before_2}, {before} {net_income_before}, "
            "{period} {net_income}: 세 해 연속 손실입니다."
        ),
    ),
    ("F-LOSS", "loss"): ("당기순손실 발생", "{period} 당기순손실: 당기순이익 {net_income}."),
    ("F-REV", "steep"): (
        "매출액 급감: {change}",
        "매출액이 {before} {revenue_before} → {period} {revenue}, 전년 대비 {change} 변동했습니다.",
    ),
    ("F-REV", "fall"): (
        "매출액 감소: {change}",
        "매출액이 {before} {revenue_before} → {period} {revenue}, 전년 대비 {change} 변동했습니다.",
    ),
    ("F-OP", "fall"): (
        "영업이익 큰 폭 감소",
        "영업이익이 {before} {operating_income_before} → {period} {operating_income}, 큰 폭으로 줄었습니다.",
    ),
    ("F-IMPAIR", "whole"): (
        "전액 자본잠식",
        "{period} 자본총계 {equity}, 자본금 {paid_in_capital}: 자본금이 전부 잠식되었습니다.",
    ),
    ("F-IMPAIR", "part"): (
        "부분 자본잠식",
        "{period} 자본총계 {equity}, 자본금 {paid_in_capital}: 자본금의 일부가 잠식되었습니다.",
    ),
    ("O-REV", "steep"): (
        "매출액 급증: {change}",
        "매출액이 {before} {revenue_before} → {period} {revenue}, 전년 대비 {change} 변동했습니다.",
    ),
    ("O-REV", "rise"): (
        "매출액 증가: {change}",
        "매출액이 {before} {revenue_before} → {period} {revenue}, 전년 대비 {change} 변동했습니다.",
    ),
    ("O-OP", "rise"): (
        "영업이익 큰 폭 증가",
        "영업이익이 {before} {operating_income_before} → {period} {operating_income}, 큰 폭으로 늘었습니다.",
    ),
    ("D-OVERDUE", "days"): ("연체 {days}일", "여신의 연체 일수가 {days}일입니다."),
    ("D-OVERDUE", "days_amount"): (
        "연체 {days}일",
        "여신의 연체 일수가 {days}일, 연체 금액이 {amount}입니다.",
    ),
    ("D-OVERDUE", "flag"): ("연체 표시 발생", "직전 자료에 없던 여신 연체 표시가 새로 확인되었습니다."),
    ("D-GRADE", "steep"): (
        "내부신용등급 두 단계 이상 하락: {grade}",
        "내부신용등급이 {grade_before} → {grade}, 두 단계 이상 하락했습니다.",
    ),
    ("D-GRADE", "fall"): (
        "내부신용등급 하락: {grade}",
        "내부신용등급이 {grade_before} → {grade}, 한 단계 하락했습니다.",
    ),
    ("O-GRADE", "steep"): (
        "내부신용등급 두 단계 이상 상승: {grade}",
        "내부신용등급이 {grade_before} → {grade}, 두 단계 이상 상승했습니다.",
    ),
    ("O-GRADE", "rise"): (
        "내부신용등급 상승: {grade}",
        "내부신용등급이 {grade_before} → {grade}, 한 단계 상승했습니다.",
    ),
    ("D-EXPOSURE", "steep"): (
        "총여신 급증: {change}",
        "총여신이 {exposure_before} → {exposure}, 직전 자료 대비 {change} 변동했습니다.",
    ),
    ("D-EXPOSURE", "rise"): (
        "총여신 증가: {change}",
        "총여신이 {exposure_before} → {exposure}, 직전 자료 대비 {change} 변동했습니다.",
    ),
    ("D-COLLATERAL", "ltv_very_high"): (
        "담보인정비율 매우 높음: {ltv}",
        "담보인정비율(LTV)은 {ltv}입니다 (담보부 여신 {secured} ÷ 담보가액 {value}).",
    ),
    ("D-COLLATERAL", "ltv_high"): (
        "담보인정비율 높음: {ltv}",
        "담보인정비율(LTV)은 {ltv}입니다 (담보부 여신 {secured} ÷ 담보가액 {value}).",
    ),
    ("D-COLLATERAL", "fall"): (
        "담보가액 감소: {change}",
        "담보가액이 {value_before} → {value}, 직전 자료 대비 {change} 변동했습니다.",
    ),
    ("D-COLLATERAL", "old_appraisal"): (
        "담보 감정 기한 경과",
        "가장 오래된 담보 감정일이 {day}로, {days}일이 지났습니다.",
    ),
    ("D-KYC", "old"): (
        "고객확인 갱신 기한 경과",
        "고객확인(KYC) 최종 갱신일이 {day}로, {days}일이 지났습니다.",
    ),
    ("D-UNSECURED", "high"): (
        "무담보 여신 비중: {share}",
        "무담보 여신이 총여신의 {share}입니다 (무담보 {part} ÷ 총여신 {total}).",
    ),
    ("D-FX", "high"): (
        "외화대출 비중: {share}",
        "외화대출이 총여신의 {share}입니다 (외화대출 {part} ÷ 총여신 {total}).",
    ),
    ("D-DEPOSIT", "low"): (
        "예금 평균잔액 급감",
        "최근 월 예금 평균잔액이 {balance}, 여섯 달 평균의 {share}입니다.",
    ),
    ("D-DEPOSIT", "falling"): (
        "예금 평균잔액 세 달 연속 감소",
        "예금 평균잔액이 세 달 연속 줄었습니다 ({balance_3} → {balance_2} → {balance_1} → {balance}).",
    ),
    ("D-CARD", "surge"): ("카드 사용액 급증", "최근 월 카드 사용액이 {spend}, 이전 달 평균의 {share}입니다."),
    ("D-CARD", "limit"): (
        "카드 한도 소진율: {share}",
        "최근 월 카드 사용액이 한도의 {share}입니다 (사용 {spend} ÷ 한도 {limit}).",
    ),
    ("D-CARD", "entertainment"): (
        "카드 접대비 비중: {share}",
        "최근 월 카드 사용액 중 접대비가 {share}입니다 (접대비 {entertainment} ÷ 사용 {spend}).",
    ),
    ("D-TRADE", "overdue"): ("매출채권 연체 발생", "최근 월 무역 거래의 연체 매출채권이 {overdue}입니다."),
    ("D-TRADE", "hedge"): (
        "환헤지 비율 낮음: {share}",
        "환헤지 비율이 {share}입니다 (헤지 {hedged} ÷ 외화 노출 {exposure}).",
    ),
    ("D-TRADE", "collection"): ("매출채권 회수 지연", "최근 월 매출채권 회수 기간이 {days}일입니다."),
    ("D-TRADE", "usance"): (
        "유산스 한도 소진율: {share}",
        "유산스 한도의 {share}가 사용되었습니다 (사용 {used} ÷ 한도 {limit}).",
    ),
    ("D-TRADE", "country"): (
        "거래 국가 편중: {share}",
        "거래의 {share}가 한 국가({country})에 집중되어 있습니다.",
    ),
    ("G-OWNER", "changed"): ("최대주주 변경", "직전 자료와 최대주주가 다릅니다: {name_before} → {name}."),
    ("G-CEO", "changed"): ("대표이사 변경", "직전 자료와 대표이사가 다릅니다: {name_before} → {name}."),
}

_EN: dict[tuple[str, str], Texts] = {
    ("F-DEBT", "no_equity"): (
        "No equity left",
        "{period}: equity {equity} against liabilities {liabilities}; no equity is left.",
    ),
    ("F-DEBT", "very_high"): (
        "Debt ratio very high: {ratio}",
        "{period}: the debt ratio is {ratio} (liabilities {liabilities} / equity {equity}).",
    ),
    ("F-DEBT", "rise"): (
        "Debt ratio up steeply: {ratio}",
        (
            "Debt ratio {ratio_before} → {ratio} ({before} {liabilities_before} / {equity_before}, "
            "{period} {liabilities} / {equity})."
        ),
    ),
    ("F-DEBT", "high"): (
        "Debt ratio high: {ratio}",
        "{period}: the debt ratio is {ratio} (liabilities {liabilities} / equity {equity}).",
    ),
    ("F-LIQ", "very_low"): (
        "Current ratio very low: {ratio}",
        (
            "{period}: current assets do not cover current liabilities: {ratio} "
            "({current_assets} / {current_liabilities})."
        ),
    ),
    ("F-LIQ", "low"): (
        "Current ratio low: {ratio}",
        "{period}: the current ratio is {ratio} ({current_assets} / {current_liabilities}).",
    ),
    ("F-COVER", "three_years"): (
        "Interest not covered for three years",
        (
            "{period}: interest cover {cover} (operating income {operating_income} / interest {interest}); "
            "{before} {cover_before}, {before_2} {cover_before_2}."
        ),
    ),
    ("F-COVER", "low"): (
        "Interest cover low: {cover}",
        "{period}: interest cover is {cover} (operating income {operating_income} / interest {interest}).",
    ),
    ("F-LOSS", "three_years"): (
        "Net loss three years running",
        "Net income {before_2} {net_income_before_2}, {before} {net_income_before}, {period} {net_income}.",
    ),
    ("F-LOSS", "loss"): ("Net loss", "{period}: net loss, net income {net_income}."),
    ("F-REV", "steep"): (
        "Revenue down steeply: {change}",
        "Revenue {before} {revenue_before} → {period} {revenue}, {change} in a year.",
    ),
    ("F-REV", "fall"): (
        "Revenue down: {change}",
        "Revenue {before} {revenue_before} → {period} {revenue}, {change} in a year.",
    ),
    ("F-OP", "fall"): (
        "Operating income down steeply",
        "Operating income {before} {operating_income_before} → {period} {operating_income}.",
    ),
    ("F-IMPAIR", "whole"): (
        "Paid-in capital wholly impaired",
        "{period}: equity {equity} against paid-in capital {paid_in_capital}; all of it is used up.",
    ),
    ("F-IMPAIR", "part"): (
        "Paid-in capital partly impaired",
        "{period}: equity {equity} is below paid-in capital {paid_in_capital}.",
    ),
    ("O-REV", "steep"): (
        "Revenue up steeply: {change}",
        "Revenue {before} {revenue_before} → {period} {revenue}, {change} in a year.",
    ),
    ("O-REV", "rise"): (
        "Revenue up: {change}",
        "Revenue {before} {revenue_before} → {period} {revenue}, {change} in a year.",
    ),
    ("O-OP", "rise"): (
        "Operating income up steeply",
        "Operating income {before} {operating_income_before} → {period} {operating_income}.",
    ),
    ("D-OVERDUE", "days"): ("Loan overdue: {days} days", "A loan is {days} days overdue."),
    ("D-OVERDUE", "days_amount"): (
        "Loan overdue: {days} days",
        "A loan is {days} days overdue; the overdue amount is {amount}.",
    ),
    ("D-OVERDUE", "flag"): (
        "Overdue flag set",
        "The overdue flag is set; in the earlier snapshot it was not.",
    ),
    ("D-GRADE", "steep"): (
        "Internal grade down: {grade}",
        "The internal grade went from {grade_before} to {grade}, two notches or more.",
    ),
    ("D-GRADE", "fall"): (
        "Internal grade down: {grade}",
        "The internal grade went from {grade_before} to {grade}, one notch.",
    ),
    ("O-GRADE", "steep"): (
        "Internal grade up: {grade}",
        "The internal grade went from {grade_before} to {grade}, two notches or more.",
    ),
    ("O-GRADE", "rise"): (
        "Internal grade up: {grade}",
        "The internal grade went from {grade_before} to {grade}, one notch.",
    ),
    ("D-EXPOSURE", "steep"): (
        "Exposure up steeply: {change}",
        "Total exposure {exposure_before} → {exposure}, {change} against the earlier snapshot.",
    ),
    ("D-EXPOSURE", "rise"): (
        "Exposure up: {change}",
        "Total exposure {exposure_before} → {exposure}, {change} against the earlier snapshot.",
    ),
    ("D-COLLATERAL", "ltv_very_high"): (
        "Loan-to-value very high: {ltv}",
        "Loan-to-value is {ltv} (secured exposure {secured} / collateral value {value}).",
    ),
    ("D-COLLATERAL", "ltv_high"): (
        "Loan-to-value high: {ltv}",
        "Loan-to-value is {ltv} (secured exposure {secured} / collateral value {value}).",
    ),
    ("D-COLLATERAL", "fall"): (
        "Collateral value down: {change}",
        "Collateral value {value_before} → {value}, {change} against the earlier snapshot.",
    ),
    ("D-COLLATERAL", "old_appraisal"): (
        "Collateral appraisal out of date",
        "The oldest appraisal is of {day}, {days} days ago.",
    ),
    ("D-KYC", "old"): ("KYC review out of date", "The last KYC review was on {day}, {days} days ago."),
    ("D-UNSECURED", "high"): (
        "Unsecured share: {share}",
        "{share} of the exposure is unsecured ({part} / {total}).",
    ),
    ("D-FX", "high"): (
        "Share of foreign-currency loans: {share}",
        "{share} of the exposure is in foreign currency ({part} / {total}).",
    ),
    ("D-DEPOSIT", "low"): (
        "Deposits down steeply",
        "The newest monthly balance is {balance}, {share} of the mean of the last six months.",
    ),
    ("D-DEPOSIT", "falling"): (
        "Deposits falling three months running",
        "The average balance fell three months running ({balance_3} → {balance_2} → {balance_1} → {balance}).",
    ),
    ("D-CARD", "surge"): (
        "Card spending up steeply",
        "The newest monthly spending is {spend}, {share} of the mean of the months before.",
    ),
    ("D-CARD", "limit"): (
        "Card limit used: {share}",
        "{share} of the card limit is used ({spend} / {limit}).",
    ),
    ("D-CARD", "entertainment"): (
        "Entertainment share of card spending: {share}",
        "{share} of the card spending is entertainment ({entertainment} / {spend}).",
    ),
    ("D-TRADE", "overdue"): (
        "Trade receivables overdue",
        "Overdue trade receivables of {overdue} in the newest month.",
    ),
    ("D-TRADE", "hedge"): (
        "Hedge ratio low: {share}",
        "The hedge ratio is {share} (hedged {hedged} / exposure {exposure}).",
    ),
    ("D-TRADE", "collection"): (
        "Slow collection of receivables",
        "Collection takes {days} days in the newest month.",
    ),
    ("D-TRADE", "usance"): (
        "Usance limit used: {share}",
        "{share} of the usance limit is used ({used} / {limit}).",
    ),
    ("D-TRADE", "country"): (
        "Trade concentrated: {share}",
        "{share} of the trade is with one country ({country}).",
    ),
    ("G-OWNER", "changed"): (
        "Largest holder changed",
        "The largest holder differs from the earlier snapshot: {name_before} → {name}.",
    ),
    ("G-CEO", "changed"): (
        "CEO changed",
        "The CEO differs from the earlier snapshot: {name_before} → {name}.",
    ),
}

TEXTS = MappingProxyType({"ko": MappingProxyType(_KO), "en": MappingProxyType(_EN)})
