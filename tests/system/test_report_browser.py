"""The report of a real analysis in a real browser: what its links open is in sight, and marked."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.browser import HEIGHT, Page, open_page
from tests.support.database import fresh_database
from tests.support.dossiers import HANBIT

# Seconds: an analysis, a browser's cold start, and some forty links.
pytestmark = [pytest.mark.system, pytest.mark.anyio, pytest.mark.timeout(180)]

# Follows a link as a reader does, waits until the page has been laid out and scrolled, and looks.
_FOLLOW = """
async (selector) => {
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const link = document.querySelector(selector);
  const before = getComputedStyle(document.getElementById(link.getAttribute('href').slice(1)));
  const plain = [before.backgroundColor, before.outlineStyle, before.boxShadow].join();
  link.click();
  await frame();
  const place = document.querySelector(':target');
  const style = getComputedStyle(place);
  const box = place.getBoundingClientRect();
  const pieces = document.querySelectorAll(`[data-quote="${place.id}"]`);
  return {
    id: place.id,
    tag: place.tagName,
    text: Array.from(pieces.length ? pieces : [place], one => one.textContent).join(''),
    top: box.top, bottom: box.bottom, height: box.height,
    isMarked: plain !== [style.backgroundColor, style.outlineStyle, style.boxShadow].join(),
    isShown: place.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }),
  };
}
"""


@pytest.fixture(scope="module")
async def report(
    anyio_backend: object, admin_dsn: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of an analysis of the Korean example."""
    folder = tmp_path_factory.mktemp("report") / "out"
    async with fresh_database(admin_dsn, template) as dsn:
        command = [sys.executable, "-m", "rkyc", "analyze", str(HANBIT), "--out", str(folder), "--dsn", dsn]
        done = await anyio.run_process(command, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
    return folder


@pytest.fixture
async def page(report: Path, tmp_path: Path) -> AsyncIterator[Page]:
    """The report, opened."""
    async with open_page(tmp_path / "profile") as page:
        await page.open((report / "report.html").as_uri())
        yield page


async def follow(page: Page, selector: str) -> dict[str, Any]:
    seen: dict[str, Any] = await page.evaluate(f"({_FOLLOW})({json.dumps(selector)})")
    return seen


def is_in_sight(seen: dict[str, Any]) -> bool:
    """Tell whether the place's beginning lies in the window, whole lines of it."""
    return bool(seen["isShown"]) and seen["height"] > 0 and -1 <= seen["top"] <= HEIGHT - 20


async def test_each_piece_of_evidence_opens_at_its_quote(page: Page, report: Path) -> None:
    result = json.loads((report / "result.json").read_text("utf-8"))
    signals = [*result["signals"], *result["below_cut"]]
    assert len(signals) > 10
    for number, signal in enumerate(signals, start=1):
        for place, evidence in enumerate(signal["evidence"], start=1):
            selector = f"#signal-{number} .evidence li:nth-child({place}) a.quote-link"
            seen = await follow(page, selector)
            assert is_in_sight(seen), (selector, seen)
            assert seen["isMarked"], (selector, seen)
            if evidence["ref_type"] == "SNAPSHOT_KEYPATH":
                assert evidence["quote"] in seen["text"].replace(",", "")
            else:
                assert (seen["tag"], seen["text"]) == ("MARK", evidence["quote"])


async def test_each_citation_of_the_insight_opens_its_place(page: Page) -> None:
    ids = await page.evaluate(
        "Array.from(document.querySelectorAll('#insight a.cite'), (one, n) => one.id = `cite-${n}`)"
    )
    assert len(ids) > 30
    kinds = set()
    for one in ids:
        seen = await follow(page, f"#{one}")
        assert is_in_sight(seen), seen
        assert seen["isMarked"], seen
        kinds.add(seen["id"].rstrip("0123456789"))
    assert kinds == {"signal-", "period-", "source-"}


async def test_card_below_the_cut_unfolds_when_it_is_cited(page: Page) -> None:
    closed = "document.querySelector('#below-cut').open"
    assert await page.evaluate(closed) is False
    seen = await follow(page, "#insight a.cite[href='#signal-9']")
    assert is_in_sight(seen)
    assert await page.evaluate(closed) is True


async def test_report_asks_for_itself_alone_and_logs_nothing(page: Page, report: Path) -> None:
    assert page.requests == [(report / "report.html").as_uri()]
    assert page.messages == []


async def test_nothing_runs_over_the_edge_of_the_page(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
