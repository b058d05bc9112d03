"""HTML to text: what a reader of the page would see.

Blocks end lines, cells of a row are joined by tabs, runs of white space become one space (no-break
spaces stay). Scripts, styles, comments, the head, and elements hidden by an attribute or by their own
style are left out; a style sheet is not evaluated. A file is one page.
"""

from __future__ import annotations

import re

from lxml import etree

from rkyc.errors import InvalidFileError
from rkyc.providers.documents.text import decode
from rkyc.providers.documents.types import DocumentWarning, Extract, Page

_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody",
    "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_DROPPED = frozenset({
    "head", "script", "style", "template", "noscript", "iframe", "object", "svg", "math", "ix:header",
})  # fmt: skip
_HIDING_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|opacity)\s*:\s*0*\.?0*(?:px|pt|em|rem|%)?\s*(?:;|!|$)",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[ \t\n\r\f\v]+")
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


def read_html(name: str, data: bytes) -> Extract:
    """Return the visible text as one page.

    Raises:
        InvalidFileError: there is no element in it, or more than 2,048 inside one another.
    """
    text, warnings = _decode(data)
    # UTF-8 bytes, since lxml refuses a text that declares another encoding.
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(text.replace("\x00", "").encode("utf-8", errors="replace"), parser)
    except etree.LxmlError as error:
        raise InvalidFileError(f"{name}: the HTML can't be read; save it again from a browser") from error
    if any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log):
        # The parser stops there, and what follows would be missing without a word.
        raise InvalidFileError(
            f"{name}: the HTML is nested too deep to be read; save it again from a browser"
        )
    if root is None:
        raise InvalidFileError(f"{name}: the HTML holds no element; save it again from a browser")
    page, hidden, aside = _visible_text(root)
    if hidden.strip():
        message = f"{len(hidden.split())} word(s) that a reader does not see were left out"
        warnings = (*warnings, DocumentWarning("hidden_text", message))
    return Extract((Page(1, page),), warnings, concealed=f"{hidden}\n{aside}")


def _decode(data: bytes) -> tuple[str, tuple[DocumentWarning, ...]]:
    declared = _CHARSET.search(data[:4096])
    if declared:
        try:
            encoding = declared[1].decode("ascii").lower()
            return data.decode("cp949" if encoding in ("euc-kr", "ks_c_5601-1987") else encoding), ()
        except (LookupError, UnicodeDecodeError):
            pass  # The declaration is wrong: let the bytes speak.
    return decode(data)


def _visible_text(root: etree._Element) -> tuple[str, str, str]:
    """Return the visible text, the hidden text, and what comments and meta elements say."""
    writer, hidden, aside = _Writer(), [], []
    walker = etree.iterwalk(root, events=("start", "end", "comment"))
    for event, element in walker:
        if event == "comment":
            aside.append(element.text or "")
            writer.add(element.tail)
        elif event == "start":
            if element.tag in _DROPPED or _is_hidden(element):
                if element.tag not in _DROPPED:
                    hidden.extend(_words(element))
                aside.extend(meta.get("content", "") for meta in element.iter("meta"))
                walker.skip_subtree()
            else:
                writer.open(element.tag)
                writer.add(element.text)
        else:
            if element.tag not in _DROPPED and not _is_hidden(element):
                writer.close(element.tag)
            if element is not root:
                writer.add(element.tail)
    return writer.text(), "\n".join(hidden), "\n".join(aside)


def _words(element: etree._Element) -> list[str]:
    """Return the texts below an element, without those that are never shown."""
    if next(element.iter("ix:header"), None) is not None:
        return []  # The machine-readable part of an inline XBRL filing: hidden in every one of them.
    kept = (child for child in element.iter(tag=etree.Element) if child.tag not in _DROPPED)
    return [text for child in kept for text in (child.text, child.tail) if text and text.strip()]


def _is_hidden(element: etree._Element) -> bool:
    return "hidden" in element.attrib or bool(_HIDING_STYLE.search(element.get("style", "")))


class _Writer:
    """Puts pieces together as a browser lays them out in lines."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._pending = ""  # What stands between the last piece and the next: "", " ", a tab or a line feed.
        self._fresh_cell = False  # Nothing was written since the cell began: its first block breaks no line.
        self._cells = 0  # In the row.
        self._verbatim = 0  # Depth of <pre>.

    def open(self, tag: str) -> None:
        if tag == "tr":
            self._break_line()
            self._cells = 0
        elif tag in ("td", "th"):
            if self._cells:
                self._pending = "\t"
            self._cells += 1
            self._fresh_cell = True
        elif tag in _BLOCKS:
            self._break_line()
        self._verbatim += tag == "pre"

    def close(self, tag: str) -> None:
        self._verbatim -= tag == "pre"
        if tag in _BLOCKS and tag != "br":
            self._fresh_cell = self._fresh_cell and tag not in ("tr", "table")
            self._break_line()

    def add(self, text: str | None) -> None:
        if not text:
            return
        if self._verbatim:
            self._write(text)
            return
        words = _SPACES.sub(" ", text)
        if words.startswith(" "):
            self._pending = self._pending or " "
        if words.strip(" "):
            self._write(words.strip(" "))
            self._pending = " " if words.endswith(" ") else ""

    def text(self) -> str:
        return "".join(self._pieces)

    def _write(self, text: str) -> None:
        if self._pieces:
            self._pieces.append(self._pending)
        self._pieces.append(text)
        self._pending = ""
        self._fresh_cell = False

    def _break_line(self) -> None:
        if not self._fresh_cell:
            self._pending = "\n"
