from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rkyc.steps.kyc.events.cluster import Story, cluster_stories

DAY = datetime(2025, 3, 1, tzinfo=UTC)
LAWSUIT = (
    "가온모빌리티가 다온금속을 상대로 74억원 규모의 손해배상 청구 소송을 제기했다. 소장은 11일 수원지방법원에 접수됐다. "
    "납품을 세 차례 지연해 생산라인이 멈췄다는 주장이다."
)
FIRE = (
    "20일 새벽 다온금속 포항공장에서 불이 나 열처리 설비 두 대가 탔다. 생산을 다시 시작하는 데 6주가 걸린다."
)


def test_copies_share_a_cluster_and_other_stories_do_not() -> None:
    stories = [
        Story("소송", LAWSUIT, DAY),
        Story("화재", FIRE, DAY),
        Story("[단신] 소송", LAWSUIT.replace("제기했다", "냈다") + " (기자)", DAY + timedelta(days=1)),
        Story("소송 요약", LAWSUIT[:70], DAY),
    ]
    assert cluster_stories(stories) == [0, 1, 0, 0]


def test_other_language_joins_by_topic_and_sum() -> None:
    english = "Gaon Mobility filed a lawsuit against Daon Metal seeking 7.4 billion won in damages."
    stories = [Story("소송", LAWSUIT, DAY, "company"), Story("Sued", english, DAY, "company")]
    assert cluster_stories(stories) == [0, 0]
    apart = [
        Story("소송", LAWSUIT, DAY, "company"),
        Story("Sued", english, DAY + timedelta(days=60), "company"),
    ]
    assert cluster_stories(apart) == [0, 1]
    other = [Story("소송", LAWSUIT, DAY, "company"), Story("Sued", english, DAY, "other")]
    assert cluster_stories(other) == [0, 1]


@given(
    st.permutations(
        [LAWSUIT, LAWSUIT + " 끝.", FIRE, FIRE.replace("6주", "육 주"), "전혀 다른 이야기가 여기에 있다."]
    )
)
def test_order_of_the_input_does_not_matter(texts: list[str]) -> None:
    numbers = cluster_stories([Story("", text, DAY) for text in texts])
    groups = {
        frozenset(text for text, n in zip(texts, numbers, strict=True) if n == number) for number in numbers
    }
    assert {len(group) for group in groups} == {1, 2}
    assert len(groups) == 3


@given(st.lists(st.text(max_size=80), max_size=8))
def test_every_story_gets_a_number_and_equal_ones_the_same(texts: list[str]) -> None:
    numbers = cluster_stories([Story("", text) for text in texts])
    assert len(numbers) == len(texts)
    long = {text: number for text, number in zip(texts, numbers, strict=True) if len(text) > 30}
    assert all(number == long[text] for text, number in zip(texts, numbers, strict=True) if text in long)


def test_a_hundred_copies_are_one_story() -> None:
    stories = [Story(f"속보 {number}", LAWSUIT, DAY) for number in range(100)]
    assert set(cluster_stories(stories)) == {0}
