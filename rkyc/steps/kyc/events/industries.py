"""What industries are called in the news: words by division of the industry code.

Codes are read as KSIC (Korea) or ISIC, whose two-digit divisions agree: `C29`, `29`, `29271`. A
company's own words come from its division; `policy` words belong to rules that touch it.
"""

from __future__ import annotations

import functools
import re

_TERMS: dict[str, str] = {
    "01": "농업|농가|작황|영농|agricultur\\w*|crop",
    "03": "어업|수산|양식|fisher\\w*|aquacultur\\w*",
    "05": "석탄|광산|광업|coal|mining",
    "06": "원유|셰일|유전|시추|oilfield|oil and gas|shale|drilling",
    "07": "광산|광업|제련|mining|ore",
    "08": "채석|광물|모래|proppant|frac sand|quarr\\w*|mineral",
    "09": "시추|유전|유정|oilfield|drilling|fracturing|rig count",
    "10": "식품|식음료|먹거리|가공식품|식자재|식료품|곡물|원당|축산물|food|foodstuff|grocery|grain",
    "11": "음료|주류|맥주|소주|생수|beverage|brewer\\w*|spirits",
    "12": "담배|tobacco",
    "13": "섬유|원단|방직|염색|textile|fabric",
    "14": "의류|봉제|패션|apparel|garment|fashion",
    "15": "가죽|신발|leather|footwear",
    "16": "목재|합판|timber|lumber|plywood",
    "17": "제지|펄프|골판지|paper|pulp",
    "18": "인쇄|printing",
    "19": "정유|석유제품|코크스|refiner\\w*|petroleum",
    "20": "화학|석유화학|나프타|도료|비료|chemical|petrochemical|fertili[sz]er",
    "21": "제약|의약품|신약|임상|바이오|pharma\\w*|drug|clinical",
    "22": "고무|플라스틱|타이어|합성수지|사출|rubber|plastic|tire",
    "23": "시멘트|유리|세라믹|레미콘|내화물|cement|glass|ceramic\\w*|proppant",
    "24": "철강|제철|압연|주물|주조|비철|알루미늄|구리|steel|metal|foundry|casting|alumin\\w+|copper",
    "25": "금속가공|금속제품|절삭|단조|금형|프레스|볼트|정밀가공|부품|fabricated metal|machining|forging|mou?ld|die-?cast",
    "26": "반도체|디스플레이|전자부품|PCB|인쇄회로|통신장비|semiconductor|display|electronic|chip",
    "27": "의료기기|정밀기기|광학|계측|렌즈|medical device|optical|instrument",
    "28": "배터리|이차전지|2차전지|전기장비|전선|전동기|변압기|가전|batter\\w+|electrical equipment|cable|transformer",
    "29": "기계|공작기계|장비|로봇|공조|펌프|베어링|밸브|정밀가공|machinery|machine tool|equipment|robot\\w*|pump|bearing",
    "30": "자동차|완성차|차량|차부품|부품사|전기차|내연기관|엔진|변속기|automotive|automobile|vehicle|auto parts|carmaker",
    "31": "조선|선박|항공기|철도차량|방산|shipbuild\\w*|shipyard|aircraft|aerospace|rolling stock",
    "32": "가구|furniture",
    "33": "완구|악기|귀금속|toy|jewel\\w*",
    "35": "발전|전력|가스|열병합|태양광|풍력|power plant|electricity|utility|solar|wind power",
    "36": "수도|상수도|water supply",
    "38": "폐기물|재활용|waste|recycling",
    "41": "건설|시공|분양|주택|아파트|PF|construction|homebuild\\w*|contractor",
    "42": "전문건설|설비공사|토목|construction|civil engineering",
    "45": "자동차 판매|중고차|car dealer\\w*",
    "46": "도매|유통|무역|wholesale|distribut\\w+|trading",
    "47": "소매|유통|마트|백화점|편의점|이커머스|온라인몰|retail\\w*|e-?commerce|supermarket",
    "49": "운송|물류|화물|택배|버스|트럭|freight|trucking|logistics",
    "50": "해운|선사|해상운임|shipping|container line",
    "51": "항공사|항공운송|airline",
    "52": "창고|물류|항만|warehous\\w*|logistics|port",
    "55": "호텔|숙박|리조트|hotel|lodging|resort",
    "56": "외식|음식점|프랜차이즈|급식|카페|restaurant|catering|franchise",
    "58": "소프트웨어|게임|출판|software|game|publishing",
    "59": "영화|방송콘텐츠|음반|film|music",
    "60": "방송|broadcast\\w*",
    "61": "통신|이동통신|telecom\\w*",
    "62": "IT서비스|소프트웨어|클라우드|SI업|software|cloud|IT services",
    "63": "플랫폼|데이터센터|포털|platform|data cent\\w+|portal",
    "64": "은행|금융|저축은행|여신|bank\\w*|lending",
    "65": "보험|insur\\w+",
    "66": "증권|자산운용|핀테크|securities|asset management|fintech",
    "68": "부동산|임대업|상가|real estate|leasing|property",
    "70": "연구개발|R&D|research and development",
    "71": "컨설팅|광고|법무|consulting|advertising",
    "72": "엔지니어링|건축설계|engineering|architectur\\w*",
    "85": "교육|학원|대학|education|school",
    "86": "병원|의료|의원|hospital|clinic|healthcare",
}
_DIVISION = re.compile(r"^\s*[A-Za-z]?\s*(\d{2})")


@functools.lru_cache(maxsize=256)
def industry_pattern(industry_code: str | None) -> re.Pattern[str] | None:
    """Return the words of a company's industry, or None when its code says nothing."""
    match = _DIVISION.match(industry_code or "")
    return _compile(_TERMS[match[1]]) if match and match[1] in _TERMS else None


@functools.lru_cache(maxsize=256)
def other_industries(industry_code: str | None) -> re.Pattern[str]:
    """Return the words of all industries but the company's own."""
    match = _DIVISION.match(industry_code or "")
    own = set(_TERMS.get(match[1], "").split("|")) if match else set()
    words = {word for terms in _TERMS.values() for word in terms.split("|")} - own
    return _compile("|".join(sorted(words, key=lambda word: (-len(word), word))))


def industry_words(industry_code: str | None, lang: str) -> list[str]:
    """Return plain words for a search query in the language (`ko`, `en`), at most three."""
    match = _DIVISION.match(industry_code or "")
    words = _TERMS.get(match[1], "").split("|") if match else []
    plain = [word for word in words if "\\" not in word and "?" not in word and word]
    return [word for word in plain if word.isascii() == (lang == "en")][:3]


def _compile(terms: str) -> re.Pattern[str]:
    # Latin words stand alone; a Hangul word may carry particles and join into compounds.
    return re.compile(rf"(?:(?<![A-Za-z])(?:{terms})(?![A-Za-z]))", re.IGNORECASE)
