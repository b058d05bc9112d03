"""Bar charts as SVG, written by hand: no library draws them, and they can be read in light and in dark.

A chart is rows of horizontal bars with their values as text. A thin line over a bar is the spread of its
runs, a short upright one a mark such as the goal or the ideal. The colours follow the reader's scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Pixels.
WIDTH = 860
LABELS = 310
VALUES = 190
BAR, GAP, GROUP_GAP = 16, 5, 12
HEAD, FOOT = 58, 30

_STYLE = """
svg { --paper: #ffffff; --ink: #1f2328; --quiet: #59636e; --rule: #d1d9e0; --ours: #0969da; --other: #8c959f; --good: #1a7f37; --bad: #bc4c00 }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --rule: #3d444d; --ours: #4493f8; --other: #656c76; --good: #3fb950; --bad: #f0883e }
}
text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: var(--quiet) }
.rule { stroke: var(--rule) }
.spread, .mark { stroke: var(--ink) }
.mark { stroke-width: 2 }
.ours { fill: var(--ours) } .other { fill: var(--other) } .good { fill: var(--good) } .bad { fill: var(--bad) }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `kind` is its colour: ours, other, good or bad; `text` stands beside it."""

    label: str
    value: float
    text: str
    kind: str = "ours"
    low: float | None = None
    high: float | None = None
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Groups of bars on one scale: linear from 0, or logarithmic with a tick at every power of `base`.

    `origin` is where the bars of a logarithmic scale begin, if not at its left end.
    """

    title: str
    note: str
    groups: Sequence[Sequence[Bar]]
    base: int = 0
    origin: float = 0.0


def draw(chart: Chart) -> str:
    """Return the chart as an SVG document."""
    scale = _Scale(chart)
    y, parts = float(HEAD), []
    for group in chart.groups:
        for bar in group:
            parts += _draw_bar(bar, y, scale)
            y += BAR + GAP
        y += GROUP_GAP
    height = y + FOOT - GROUP_GAP
    axis = [
        f'<line class="rule" x1="{scale.place(tick):.1f}" x2="{scale.place(tick):.1f}" y1="{HEAD - 6}" y2="{height - FOOT}"/>'
        f'<text class="quiet" x="{scale.place(tick):.1f}" y="{height - 12:.1f}" text-anchor="middle">{_write_tick(tick)}</text>'
        for tick in scale.ticks
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(chart.title)}">',
            f"<title>{escape(chart.title)}</title><style>{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="var(--paper)"/>',
            f'<text class="title" x="12" y="24">{escape(chart.title)}</text>',
            f'<text class="quiet" x="12" y="42">{escape(chart.note)}</text>',
            *axis,
            *parts,
            "</svg>\n",
        ]
    )


class _Scale:
    """Where a value lies, in pixels from the left, and which values are written below."""

    def __init__(self, chart: Chart) -> None:
        self._base = chart.base
        bars = [bar for group in chart.groups for bar in group]
        numbers = [n for bar in bars for n in (bar.value, bar.low, bar.high, bar.mark, chart.origin) if n]
        if self._base:
            first = math.floor(self._log(min(numbers, default=1.0) * 0.999))
            last = max(math.ceil(self._log(max(numbers, default=1.0))), first + 1)
            self._from, self._to = float(first), float(last)
            self.ticks = [float(self._base) ** power for power in range(first, last + 1)]
        else:
            step = _round_step(max(numbers, default=1.0) / 5)
            steps = math.ceil(max(numbers, default=1.0) / step)
            self._from, self._to = 0.0, steps * step
            self.ticks = [step * n for n in range(steps + 1)]
        self.start = self.place(chart.origin) if chart.origin else float(LABELS)

    def place(self, value: float) -> float:
        """Return the place of a value; what lies outside is put on the edge."""
        at = self._log(value) if self._base else value
        share = (at - self._from) / (self._to - self._from)
        return LABELS + min(1.0, max(0.0, share)) * (WIDTH - LABELS - VALUES)

    def _log(self, value: float) -> float:
        return math.log(max(value, 1e-12), self._base)


def _draw_bar(bar: Bar, y: float, scale: _Scale) -> list[str]:
    start, end, middle = scale.start, scale.place(bar.value), y + BAR / 2
    left, width = min(start, end), max(1.0, abs(end - start))
    parts = [
        f'<text x="{LABELS - 8}" y="{y + 12.5:.1f}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{bar.kind}" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2"/>',
    ]
    right = left + width
    if bar.low is not None and bar.high is not None and bar.low < bar.high:
        low, high = scale.place(bar.low), scale.place(bar.high)
        parts.append(f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>')
        right = max(right, high)
    if bar.mark is not None:
        at = scale.place(bar.mark)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 2}" y2="{y + BAR + 2}"/>')
        right = max(right, at)
    parts.append(f'<text class="quiet" x="{right + 6:.1f}" y="{y + 12.5:.1f}">{escape(bar.text)}</text>')
    return parts


def _write_tick(tick: float) -> str:
    return f"{tick:,.0f}" if tick >= 1 and tick == round(tick) else f"{tick:g}"


def _round_step(rough: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
