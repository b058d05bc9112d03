"""A report as one HTML file: no request to anywhere, no script, every quote an anchor.

All data is escaped by the template engine; the only ready-made markup is the marked source text
(`marks.py`) and the style sheet, which is ours. A content security policy inside the file forbids
everything but inline style, so even markup that slipped through could load or run nothing.
"""

from __future__ import annotations

from functools import cache, partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rkyc.report.amounts import split_amounts
from rkyc.report.charts import HEIGHT, WIDTH
from rkyc.report.marks import Span, clean, escape_visible, mark_text, split_anchors
from rkyc.report.sources import CitedPage
from rkyc.report.types import ReportInput
from rkyc.report.view import build_view


def render_html(report: ReportInput) -> str:
    """Return the whole document. The same input gives the same bytes."""
    view = build_view(report)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            lang=report.lang,
            t=view.labels.text,
            amounts=partial(split_amounts, labels=view.labels),
            style=Markup(_style_sheet()),  # noqa: S704 - our own file
            split=[anchor for page in view.pages for anchor in split_anchors(page.spans)],
            chart_width=WIDTH,
            chart_height=HEIGHT,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rkyc.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["marked"] = _marked
    environment.filters["visible"] = _visible
    return environment


@cache
def _style_sheet() -> str:
    return (files("rkyc.report") / "templates" / "report.css").read_text(encoding="utf-8")


def _finalize(value: Any) -> Any:
    """Take out what HTML can't carry; markup has been cleaned where it was made."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _marked(page: CitedPage) -> Markup:
    spans: tuple[Span, ...] = page.spans
    return Markup(mark_text(page.text, spans))  # noqa: S704 - every character is escaped there


def _visible(text: str) -> Markup:
    return Markup(escape_visible(text))  # noqa: S704 - every character is escaped there
