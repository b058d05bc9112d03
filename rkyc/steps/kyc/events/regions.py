"""Korean places as they stand in addresses and news, to tell companies of one name apart."""

from __future__ import annotations

import re

_PROVINCES = "서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주"
_CITIES = (
    "수원|성남|의정부|안양|부천|광명|평택|동두천|안산|고양|과천|구리|남양주|오산|시흥|군포|의왕|하남|용인|파주|이천|안성|"
    "김포|화성|양주|포천|여주|춘천|원주|강릉|동해|태백|속초|삼척|청주|충주|제천|천안|공주|보령|아산|서산|논산|당진|전주|"
    "군산|익산|정읍|남원|김제|목포|여수|순천|나주|광양|포항|경주|김천|안동|구미|영주|영천|상주|문경|경산|창원|진주|통영|"
    "사천|김해|밀양|거제|양산|서귀포"
)
# A place stands alone or carries 시, 도, a district, a particle; 대구은행 or 광주신세계 are names.
_PLACE = re.compile(
    rf"(?<![가-힣])(?P<place>{_CITIES}|{_PROVINCES})"
    r"(?=(?:시|도|광역시|특별시|특별자치시|특별자치도)?(?:소재|공장|사업장|본사|공단|지역|지청|지원|시내)?"
    r"(?:의|에|에서|에는|에서는|와|과|은|는|이|가|을|를|도|으로|로)?(?:[^가-힣]|$))"
)
_ADDRESS_LINE = re.compile(
    r"(?:소\s*재\s*지|본\s*점|주\s*소|address|head\s*office)[^\n]{0,120}", re.IGNORECASE
)
_PROVINCE_SET = frozenset(_PROVINCES.split("|"))


def find_places(text: str) -> set[str]:
    """Return the provinces and cities that a text of form NFC names."""
    return {match["place"] for match in _PLACE.finditer(text)}


def find_cities(text: str) -> set[str]:
    """Return the cities alone: a province says too little about who is meant."""
    return find_places(text) - _PROVINCE_SET


def find_address_places(text: str) -> set[str]:
    """Return the places that stand in the address lines of a paper."""
    return {place for line in _ADDRESS_LINE.finditer(text) for place in find_places(line[0])}
