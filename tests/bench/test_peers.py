"""What the comparison with other queues promises: the ratio's direction, the goal, records that the report can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.harness import Bench
from bench.measure import Sample
from bench.peers import pgqueuer
from bench.peers.__main__ import RIVALS
from bench.peers.cases import CASES
from bench.peers.errors import RivalError
from bench.peers.outcome import Comparison, Record, compare
from bench.peers.packages import WORKERS, NodePackages
from bench.peers.stores import RedisStore, Servers
from bench.rivals import load_rivals, write_rivals

pytestmark = pytest.mark.anyio


def compare_case(case: str, rkyc: list[Sample], theirs: list[Sample]) -> list[Comparison]:
    return compare(pgqueuer.RIVAL, case, CASES[case], rkyc, theirs)


def test_ratio_above_one_says_that_rkyc_is_ahead_whichever_way_is_better() -> None:
    (rate,) = compare_case("noop", [Sample(40.0), Sample(30.0)], [Sample(10.0), Sample(10.0)])
    assert rate.measure.ratios == [4.0, 3.0]
    starts = [[Sample(one, {"p99_ms": 2 * one})] for one in (2.0, 6.0)]
    p50, p99 = compare_case("start", *starts)
    assert p50.measure.ratios == p99.measure.ratios == [3.0]


def test_goal_is_missed_when_the_median_of_the_ratios_is_below_it() -> None:
    theirs = [Sample(10.0)] * 3
    (met,) = compare_case("noop", [Sample(10.0), Sample(20.0), Sample(30.0)], theirs)
    (missed,) = compare_case("noop", [Sample(10.0), Sample(19.0), Sample(30.0)], theirs)
    assert (met.is_missed, missed.is_missed) == (False, True)


def test_record_grows_with_each_measure_and_the_report_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-01-peers.json"
    entry = {"at": "2026-01-01T00:00:00+00:00", "commit": "abc", "load_before": [0.1, 0.1, 0.1]}
    record = Record(path, [], entry)
    record.add(compare_case("noop", [Sample(40.0)], [Sample(10.0)]))
    record.add(compare_case("nap", [Sample(4.0)], [Sample(5.0)]))
    (written,) = json.loads(path.read_text(encoding="utf-8"))
    assert [measure["case"] for measure in written["measures"]] == ["noop", "nap"]
    text = write_rivals(load_rivals(tmp_path))
    assert "| no-op jobs, one process | pgqueuer 1.6.0 | 40 jobs/s | 10 | 4 (4-4) | ≥ 2 | reached |" in text


def test_every_rival_has_its_script_and_known_cases() -> None:
    for rival in RIVALS.values():
        ending = ".mjs" if isinstance(rival.packages, NodePackages) else ".py"
        assert (WORKERS / f"{rival.worker}{ending}").exists(), rival.name
        assert set(rival.loads) <= set(CASES), rival.name


async def test_store_without_redis_says_what_to_install(tmp_path: Path) -> None:
    servers = Servers(Bench("", tmp_path, None, 1, {}, {}), None)
    with pytest.raises(RivalError, match="apt-get install redis-server"):
        async with RedisStore(("DBSIZE",)).open(servers):
            pass
