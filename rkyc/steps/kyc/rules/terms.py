"""The words by which a text tells of an event: one row per topic, Korean and English.

A topic says what kind of risk signal a sentence with its words makes. Patterns are searched in text
of Unicode form NFC. Words that contain a term but mean something else are shut out here (부도덕,
불기소, 줄도산); denials and acquittals are `negation`'s matter. Severity 1 (info) to 5 (critical).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rkyc.steps.kyc.vocabulary import EventType, ImpactDirection, Level, RiskCategory, SignalType


@dataclass(frozen=True, slots=True)
class Topic:
    """`extreme`: an error about the company would be grave, so its own name must stand in the source."""

    id: str
    signal_type: SignalType
    event_type: EventType
    category: RiskCategory
    direction: ImpactDirection
    severity: int
    strength: Level
    probability: Level
    extreme: bool
    label_ko: str
    label_en: str
    pattern: re.Pattern[str]


_DIRECT, _INDUSTRY, _ENVIRONMENT = SignalType.DIRECT, SignalType.INDUSTRY, SignalType.ENVIRONMENT
_LEGAL, _MEDIA, _OTHER = EventType.LEGAL_PROCEEDING, EventType.ADVERSE_MEDIA, EventType.OTHER_PUBLIC
_RISK, _OPPORTUNITY, _NEUTRAL = ImpactDirection.RISK, ImpactDirection.OPPORTUNITY, ImpactDirection.NEUTRAL
_HIGH, _MED, _LOW = Level.HIGH, Level.MED, Level.LOW


def _topic(
    topic_id: str,
    kind: tuple[SignalType, EventType, RiskCategory, ImpactDirection],
    weight: tuple[int, Level, Level],
    labels: tuple[str, str],
    korean: str,
    english: str,
    *,
    extreme: bool = False,
) -> Topic:
    signal_type, event_type, category, direction = kind
    severity, strength, probability = weight
    pattern = re.compile(rf"(?:{korean})|(?<![A-Za-z])(?:{english})(?![A-Za-z])", re.IGNORECASE)
    return Topic(
        topic_id,
        signal_type,
        event_type,
        category,
        direction,
        severity,
        strength,
        probability,
        extreme,
        *labels,
        pattern,
    )


# In order of gravity: of two topics in one sentence the earlier one gives the risk signal its name.
TOPICS: tuple[Topic, ...] = (
    _topic(
        "E-INSOLVENCY",
        (_DIRECT, _LEGAL, RiskCategory.FINANCIAL, _RISK),
        (5, _HIGH, _HIGH),
        ("부도·회생·파산 관련", "insolvency"),
        r"(?<!줄)부도(?!덕|율|심|체)|(?<!줄)도산|기업\s?회생|회생\s?절차|회생\s?(?:신청|개시|계획)|법정\s?관리|파산|워크아웃|채무\s?불이행|"
        r"당좌\s?거래\s?정지",
        r"bankrupt(?:cy)?|insolven(?:t|cy)|chapter\s+(?:11|7)|receivership|"
        r"court\s+protection\s+from\s+creditors|"
        r"default(?:ed|s|ing)?\s+on|liquidation\s+proceedings?|filed\s+for\s+(?:protection|administration)",
        extreme=True,
    ),
    _topic(
        "E-DELISTING",
        (_DIRECT, _MEDIA, RiskCategory.MARKET, _RISK),
        (5, _HIGH, _MED),
        ("상장폐지 관련", "delisting"),
        r"상장\s?폐지|상장\s?적격성\s?실질\s?심사|거래\s?정지|관리\s?종목",
        r"delist(?:ed|ing)?|removed\s+from\s+listing|trading\s+(?:halt|suspension)",
        extreme=True,
    ),
    _topic(
        "E-AUDIT",
        (_DIRECT, _MEDIA, RiskCategory.FINANCIAL, _RISK),
        (5, _HIGH, _MED),
        ("감사의견·계속기업 관련", "audit opinion"),
        r"(?:감사\s?)?의견\s?거절|부적정\s?의견|감사\s?의견\s?(?:한정|비적정)|계속\s?기업[^.]{0,20}(?:의문|불확실)",
        r"going[\s-]concern|adverse\s+(?:audit\s+)?opinion|disclaimer\s+of\s+opinion|substantial\s+doubt",
        extreme=True,
    ),
    _topic(
        "E-CRIME",
        (_DIRECT, _LEGAL, RiskCategory.LEGAL, _RISK),
        (5, _HIGH, _MED),
        ("횡령·배임·기소 등 형사 사건 관련", "criminal case"),
        r"횡령|배임|분식\s?회계|회계\s?조작|(?<!불)기소(?!\s?유예\s?처분\s?취소)|구속|주가\s?조작|시세\s?조종|뇌물|비자금|사기\s?혐의|"
        r"자금\s?세탁|밀수|탈세|조세\s?포탈",
        r"embezzl\w+|breach\s+of\s+trust|accounting\s+fraud|indict(?:ed|ment|s)|arrest(?:ed|s)?|"
        r"brib(?:e|es|ery|ed)|"
        r"money[\s-]launder\w+|fraud(?:ulent(?:ly)?)?|convicted|pleaded\s+guilty|racketeering|"
        r"price[\s-]fixing|"
        r"insider\s+trading|tax\s+evasion|smuggl\w+|corruption|kickbacks?",
        extreme=True,
    ),
    _topic(
        "E-WAGES",
        (_DIRECT, _MEDIA, RiskCategory.OPERATIONAL, _RISK),
        (4, _HIGH, _HIGH),
        ("임금·대금 체불 또는 연체 관련", "arrears of wages or payments"),
        r"체불|임금\s?(?:을|이)?\s?(?:못\s?받|미지급)|대금\s?미지급|(?:대출|이자|원리금)[^.]{0,6}연체|채권단|가압류|압류(?!수색)",
        r"unpaid\s+wages|wage\s+arrears|missed\s+(?:a\s+)?(?:payment|payroll|interest\s+payment)|"
        r"attachment\s+order",
    ),
    _topic(
        "E-PROBE",
        (_DIRECT, _LEGAL, RiskCategory.LEGAL, _RISK),
        (4, _HIGH, _MED),
        ("수사·조사·제재 관련", "investigation or sanction"),
        r"압수\s?수색|검찰[^.]{0,8}(?:수사|송치|고발)|경찰[^.]{0,8}수사|수사\s?(?:착수|의뢰)|세무\s?조사|과징금|과태료|영업\s?정지|"
        r"업무\s?정지|입찰\s?참가\s?제한|시정\s?명령|제재|담합|리베이트|불공정\s?거래|하도급법\s?위반|중대재해처벌법",
        r"investigat(?:ed|ion|ing)|raid(?:ed|s)?\s+(?:by|the)|probe[ds]?|fined|penalt(?:y|ies)|"
        r"sanction(?:s|ed)|cease[\s-]and[\s-]desist|"
        r"antitrust|suspension\s+order|subpoena\w*|violat(?:ed|ions?)\s+of",
    ),
    _topic(
        "E-LAWSUIT",
        (_DIRECT, _LEGAL, RiskCategory.LEGAL, _RISK),
        (3, _MED, _MED),
        ("소송 관련", "lawsuit"),
        r"소송|피소|고소|고발|손해\s?배상\s?청구|소장|가처분|특허\s?침해|분쟁\s?조정|중재\s?신청",
        r"lawsuits?|sued|suing|litigation|class[\s-]action|plaintiffs?|complaint\s+(?:filed|against)|"
        r"patent\s+infringement|injunction|arbitration",
    ),
    _topic(
        "E-ACCIDENT",
        (_DIRECT, _MEDIA, RiskCategory.OPERATIONAL, _RISK),
        (4, _HIGH, _MED),
        ("사고·조업 중단 관련", "accident or stoppage"),
        r"화재|폭발\s?사고|폭발(?=이|로|해|했)|붕괴|중대\s?재해|산업\s?재해|사망\s?사고|(?:근로자|직원|작업자)[^.]{0,12}(?:사망|숨)|유출\s?사고|"
        r"(?:생산|가동|조업|공장)(?:이|을|를)?\s?(?:전면\s?)?(?:중단|정지)|공장\s?폐쇄|파업|직장\s?폐쇄|식중독",
        r"(?:factory|plant|warehouse|facility)\s+fire|fire\s+(?:broke\s+out|at)|explosion|"
        r"fatal\s+accident|killed\s+(?:a\s+)?worker|"
        r"(?:production|operations?)\s+(?:was|were|is|are)?\s?(?:halted|suspended|stopped)|"
        r"plant\s+closure|shut\s+down|"
        r"chemical\s+spill|strike\s+by|workers?'?\s+strike|food\s+poisoning",
    ),
    _topic(
        "E-CREDIT",
        (_DIRECT, _MEDIA, RiskCategory.FINANCIAL, _RISK),
        (4, _HIGH, _MED),
        ("신용도·실적 악화 관련", "credit or earnings deterioration"),
        r"신용\s?등급[^.]{0,12}(?:하향|강등|내렸|낮췄)|등급\s?전망[^.]{0,8}부정적|자본\s?잠식|적자\s?전환|유동성\s?위기|자금난|"
        r"어음[^.]{0,10}(?:막지\s?못|미결제)|"
        r"영업\s?손실|어닝\s?쇼크",
        r"(?:credit\s+)?rating\s+(?:was\s+)?(?:cut|downgraded|lowered)|downgrad(?:e|ed|es)|"
        r"liquidity\s+(?:crisis|crunch)|"
        r"negative\s+outlook|profit\s+warning|covenant\s+breach|swung\s+to\s+a\s+loss",
    ),
    _topic(
        "E-PRODUCT",
        (_DIRECT, _MEDIA, RiskCategory.REPUTATIONAL, _RISK),
        (3, _MED, _MED),
        ("리콜·품질·평판 문제 관련", "recall, quality or reputation"),
        r"리콜|회수\s?명령|자발적\s?회수|불량품|결함|허위\s?(?:광고|표시)|갑질|불매|개인정보[^.]{0,6}유출|해킹|랜섬웨어|환경\s?오염|직장\s?내\s?괴롭힘|성희롱",
        r"(?:product|safety|vehicle|voluntary)\s+recall|recall(?:s|ed|ing)\b|defective|boycott|"
        r"data\s+breach|ransomware|misleading\s+advertis\w+|"
        r"contaminat\w+|harassment|greenwashing",
    ),
    _topic(
        "E-RESTRUCTURING",
        (_DIRECT, _MEDIA, RiskCategory.OPERATIONAL, _RISK),
        (3, _MED, _MED),
        ("구조조정·거래 중단 관련", "restructuring or lost business"),
        r"구조\s?조정|희망\s?퇴직|정리\s?해고|감원|사업\s?철수|계약\s?(?:해지|해제|취소|파기)|거래\s?중단|수주\s?취소|납품\s?중단",
        r"lay(?:ing)?[\s-]?offs?|laid\s+off|job\s+cuts?|restructuring|terminat(?:ed|"
        r"ion\s+of)\s+(?:the\s+|its\s+)?(?:contract|agreement)|"
        r"contract\s+cancell?ation|lost\s+(?:a|its)\s+(?:major|largest)\s+customer|WARN\s+notice",
    ),
    _topic(
        "E-OWNER",
        (_DIRECT, EventType.OWNERSHIP_CHANGE, RiskCategory.OPERATIONAL, _RISK),
        (3, _MED, _MED),
        ("최대주주·경영권 변동 관련", "change of ownership"),
        r"최대\s?주주[^.]{0,16}(?:변경|교체|바뀌)|경영권[^.]{0,16}(?:분쟁|매각|이전|인수|다툼)|지분\s?(?:전량\s?)?매각",
        r"change\s+of\s+control|largest\s+shareholder[^.]{0,30}(?:chang|sold|replac)\w*|"
        r"takeover\s+(?:bid|battle)|proxy\s+fight",
    ),
    _topic(
        "E-GOVERNANCE",
        (_DIRECT, EventType.GOVERNANCE_CHANGE, RiskCategory.OPERATIONAL, _RISK),
        (3, _MED, _MED),
        ("대표이사·경영진 변경 관련", "change of management"),
        r"대표\s?이사?[^.]{0,16}(?:사임|사퇴|해임|교체|변경|선임|취임|물러)|(?:신임|새)\s?대표|CFO[^.]{0,10}(?:사임|교체)|"
        r"감사[^.]{0,4}(?:사임|해임)",
        r"(?:CEO|CFO|chief\s+executive|chief\s+financial\s+officer|chairman|president)[^.]{0,40}"
        r"(?:resign\w*|step(?:s|ped|ping)?\s+down|depart\w*|replaced|ousted|appointed)|auditor\s+resign\w*",
    ),
    _topic(
        "E-POLICY",
        (_ENVIRONMENT, EventType.POLICY_REGULATION_CHANGE, RiskCategory.LEGAL, _RISK),
        (3, _MED, _MED),
        ("규제·정책 변화", "change of policy or regulation"),
        r"규제[^.]{0,8}(?:강화|신설|도입|시행)|(?:시행령|시행규칙|법률?|개정)\s?개?정?안|입법\s?예고|관세[^.]{0,10}(?:부과|인상|적용)|"
        r"보조금[^.]{0,8}(?:축소|폐지|중단)|"
        r"기준\s?금리[^.]{0,8}인상|수출\s?(?:규제|통제)|배출[^.]{0,8}(?:기준|규제)|의무화",
        r"(?:new|stricter|tighter|tightened)\s+(?:rules?|regulations?|standards?)|tariffs?\s+(?:on|of|"
        r"hike|increase)|"
        r"export\s+controls?|regulat(?:ion|ory)\s+(?:change|tightening|amendment)|subsidy\s+cuts?|"
        r"rate\s+hike|draft\s+(?:bill|decree)",
    ),
    _topic(
        "E-INDUSTRY",
        (_INDUSTRY, EventType.INDUSTRY_SHOCK, RiskCategory.MARKET, _RISK),
        (3, _MED, _MED),
        ("업황 악화", "industry downturn"),
        r"줄도산|업황[^.]{0,10}(?:악화|부진|둔화|침체)|수요[^.]{0,6}(?:급감|감소|둔화|위축|부진)|공급\s?과잉|(?:원자재|원재료|원료|곡물|유가|"
        r"철강재?)[^.]{0,12}(?:급등|상승|폭등)|"
        r"공급망[^.]{0,8}(?:차질|불안|붕괴)|감산|가동률[^.]{0,14}(?:하락|떨어|낮아)|업계[^.]{0,14}(?:위기|침체|불황)|품귀|"
        r"수출[^.]{0,8}(?:급감|감소)",
        r"industry[\s-]?wide\s+(?:slump|downturn|slowdown)|(?:demand|orders?|sales)\s+(?:slump\w*|"
        r"slowdown|collaps\w+|weaken\w*)|oversupply|overcapacity|"
        r"(?:raw\s+material|commodity|input|oil|steel)\s+(?:prices?|costs?)\s+(?:surg|soar|ris|jump|"
        r"fall|slump|collaps)\w*|supply[\s-]chain\s+disruption|"
        r"(?:sector|industry)\s+(?:slump|downturn|slowdown|crisis)",
    ),
    _topic(
        "O-BUSINESS",
        (_DIRECT, _OTHER, RiskCategory.MARKET, _OPPORTUNITY),
        (2, _MED, _MED),
        ("수주·계약·투자 관련", "new business"),
        r"수주(?!\s?취소|\s?잔고\s?감소)|공급\s?계약|납품\s?계약|수출\s?계약|투자\s?유치|흑자\s?전환|신용\s?등급[^.]{0,12}상향|사상\s?최대|"
        r"(?:설비|공장|라인)\s?증설|특허\s?(?:취득|등록)|대상\s?수상|업무\s?협약|인증\s?획득",
        r"(?:wins?|won|awarded|signs?|signed|secur\w+)\s+(?:an?\s+|"
        r"the\s+)?(?:[\w$.,-]+\s+){0,6}(?:contract|order|deal|agreement)|rating\s+upgrade\w*|"
        r"record\s+(?:profit|revenue|sales|earnings)|rais(?:es|ed)\s+\$?[\d.]+|returned\s+to\s+profit|"
        r"expand(?:s|ed|ing)\s+(?:its\s+)?(?:capacity|production)",
    ),
)
TOPIC_BY_ID = {topic.id: topic for topic in TOPICS}

# A rumour is told as a rumour and never weighs as a report.
RUMOUR = re.compile(
    r"(?:부도|매각|인수|파산|감원|합병)설|루머|소문|풍문|카더라|지라시|확인된\s?것은\s?아|확인되지\s?않|"
    r"(?<![A-Za-z])(?:rumou?r(?:s|ed)?|unconfirmed|hearsay|speculation)(?![A-Za-z])",
    re.IGNORECASE,
)
