"""Refreshes docs/performance.md and its charts from the newest saved results: `python -m bench.report`.

What stands between `<!-- begin NAME -->` and `<!-- end NAME -->` is generated; everything else in the
document is written by hand and stays as it is. Ends with 1, and names them, when rows of the table have
no result, or a case with a missed goal has no hand-written text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench.charts import draw
from bench.figures import draw_figures
from bench.goals import ROWS, Row, rows_of
from bench.harness import RESULTS, ROOT
from bench.measure import number
from bench.public_results import load_public, write_public
from bench.rivals import draw_rivals, is_ahead, load_rivals, write_rivals
from bench.saved import Entry, Saved

DOCUMENT = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "charts"
_REGION = re.compile(r"(<!-- begin (\S+)(?: (\S+))? -->\n).*?(<!-- end -->)", re.DOTALL)

# A paragraph that is not the next heading, anchor, chart or region.
_PROSE = re.compile(r"\s*[^\s#<!]")


def main() -> int:
    """Write the document and the charts."""
    saved = Saved.load(RESULTS)
    CHARTS.mkdir(exist_ok=True)
    for name, chart in {**draw_figures(saved), **draw_rivals(load_rivals(RESULTS))}.items():
        (CHARTS / f"{name}.svg").write_text(draw(chart), encoding="utf-8")
    text = fill(DOCUMENT.read_text(encoding="utf-8"), saved)
    DOCUMENT.write_text(text, encoding="utf-8")
    problems = [f"no result: {row.question}" for row in ROWS if saved.find(row.case, row.measure) is None]
    problems += [f"missed, without a text on it: {case}" for case in find_unexplained(text, saved)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def fill(text: str, saved: Saved) -> str:
    """Return the document with its generated regions written anew."""
    writers: dict[str, Callable[[Saved, str], str]] = {
        "summary": _write_summary,
        "table": _write_table,
        "machine": _write_machine,
        "case": _write_case,
        "rivals": lambda *_: write_rivals(load_rivals(RESULTS)),
        "public": lambda *_: write_public(load_public(RESULTS)),
    }

    def write(found: re.Match[str]) -> str:
        begin, name, argument, end = found.groups()
        return f"{begin}{writers[name](saved, argument or '')}\n{end}"

    return _REGION.sub(write, text)


def find_unexplained(text: str, saved: Saved) -> list[str]:
    """Return the cases that miss a goal and have no paragraph below their table."""
    explained = {
        found[3] for found in _REGION.finditer(text) if _PROSE.match(text[found.end() :]) is not None
    }
    missed = dict.fromkeys(row.case for row in ROWS if _judge(row, saved) is False)
    return [case for case in missed if case not in explained]


def _write_summary(saved: Saved, _: str) -> str:
    verdicts = [verdict for row in ROWS if (verdict := _judge(row, saved)) is not None]
    missed = [row for row in ROWS if _judge(row, saved) is False]
    text = f"{sum(verdicts)} of {len(verdicts)} goals are reached"
    rivals = [is_ahead(one) for one in load_rivals(RESULTS) if one["goal"] is not None]
    text += f", and {sum(rivals)} of {len(rivals)} beside the rivals." if rivals else "."
    if missed:
        text += " Missed: " + "; ".join(f"[{row.question}](#{_anchor(row.case)})" for row in missed) + "."
    return text


def _write_table(saved: Saved, _: str) -> str:
    lines = ["| question | rkyc | beside | ratio | goal | | limited by |", "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        entry = saved.find(row.case, row.measure)
        if entry is None:
            lines.append(f"| [{row.question}](#{_anchor(row.case)}) | not measured | | | | | |")
            continue
        beside = f"{number(entry.baseline)} {_against(entry)}" if entry.baseline is not None else ""
        ratio = number(entry.ratio) if entry.ratio is not None else ""
        verdict = {True: "reached", False: "**missed**", None: ""}[_judge(row, saved)]
        cells = (_value(entry), beside, ratio, _goal(row, entry), verdict, row.limited_by)
        lines.append(f"| [{row.question}](#{_anchor(row.case)}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _write_machine(saved: Saved, _: str) -> str:
    entries = [entry for row in ROWS if (entry := saved.find(row.case, row.measure)) is not None]
    if not entries:
        return "No result is saved."
    newest = max((entry.result for entry in entries), key=lambda result: str(result["at"]))
    machine, postgres = newest["machine"], newest["postgres"]
    facts = [
        f"{machine['processors']} processors ({machine['processor']})",
        f"{machine['memory_gb']} GB",
        machine["system"],
        f"Python {machine['python']}",
        f"Postgres {postgres['server_version']}",
    ]
    if "fdatasync_ms" in machine:
        facts.append(f"one block is on the disk after {number(machine['fdatasync_ms'])} ms (fdatasync)")
    settings = ", ".join(f"`{k} = {v}`" for k, v in postgres.items() if k != "server_version" and v)
    return f"{', '.join(facts)}.\n\nPostgres: {settings}."


def _write_case(saved: Saved, case: str) -> str:
    entries = saved.of_case(case)
    if not entries:
        return f"`python -m bench.{case}`: no result is saved."
    lines = [
        "| measure | median (smallest-largest) | beside | ratio (smallest-largest) | goal | | seen with it |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    rows = list(rows_of(case))
    for entry in entries:
        its_rows = [row for row in rows if row.measure == entry.measure["name"] and row.goal is not None]
        verdicts = [_judge(row, saved) for row in its_rows]
        verdict = "" if not verdicts else "reached" if all(verdicts) else "**missed**"
        goals = ", ".join(_goal(row, entry) for row in its_rows)
        beside = f"{number(entry.baseline)} {_against(entry)}" if entry.baseline is not None else ""
        ratio = _spread(entry.measure["ratio"]) if entry.ratio is not None else ""
        cells = (str(entry.measure["name"]), _value(entry), beside, ratio, goals, verdict, _details(entry))
        lines.append(f"| {' | '.join(cells)} |")
    runs = {str(entry.result["at"]): entry.result for entry in entries}
    for at, result in sorted(runs.items()):
        loads = f"{result['load_before'][0]:g} before, {result['load_after'][0]:g} after"
        lines.append(
            f"\n`{result['command']}`, {at[:16].replace('T', ' ')} UTC, commit {result['commit']}, load average {loads}."
        )
    return "\n".join(lines)


def _judge(row: Row, saved: Saved) -> bool | None:
    entry = saved.find(row.case, row.measure)
    if entry is None:
        return None
    return row.judge(
        row.goal,
        median=entry.median,
        ratio=entry.ratio,
        more_is_better=entry.measure["more_is_better"],
    )


def _goal(row: Row, entry: Entry) -> str:
    if row.goal is None:
        return ""
    if row.of_ratio:
        return f"ratio ≥ {number(row.goal)}"
    return f"{'≥' if entry.measure['more_is_better'] else '≤'} {number(row.goal)}"


def _value(entry: Entry) -> str:
    return f"{_spread(entry.measure['measured'])} {entry.unit}"


def _spread(values: Mapping[str, Any]) -> str:
    if len(values["values"]) == 1:
        return number(values["median"])
    return f"{number(values['median'])} ({number(values['min'])}-{number(values['max'])})"


def _details(entry: Entry) -> str:
    details = entry.measure["measured"].get("details", {})
    return ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in details.items())


def _against(entry: Entry) -> str:
    return f"({entry.against})" if entry.against != "bare SQL" else ""


def _anchor(case: str) -> str:
    return case


if __name__ == "__main__":
    sys.exit(main())
