"""Draw the papers of the example dossiers: PDF, DOCX, XLSX, HTML and one scan without a text layer.

The results are committed; run this again only after a change of `paper_texts.py`:

    pip install fpdf2 pillow python-docx openpyxl
    python examples/build_papers.py [--font NanumGothic.ttf]

The font is NanumGothic (SIL Open Font License; Debian package `fonts-nanum`), embedded as a subset of
the letters used. Dates inside the files are fixed, so the same libraries give the same bytes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import re
import zipfile
from pathlib import Path

import paper_texts as texts
from docx import Document
from fpdf import FPDF
from openpyxl import Workbook
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = Path(__file__).resolve().parent.parent / "rkyc" / "examples"
FONT = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")
STAMP = dt.datetime(2025, 3, 14, 9, 0, tzinfo=dt.UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--font", type=Path, default=FONT)
    font = parser.parse_args().font
    hanbit = EXAMPLES / "hanbit-precision" / "documents"
    saebom = EXAMPLES / "saebom-foods" / "documents"
    (hanbit / "public").mkdir(parents=True, exist_ok=True)
    saebom.mkdir(parents=True, exist_ok=True)

    write_pdf(hanbit / "audit_report_fy2024.pdf", texts.HANBIT_AUDIT_REPORT, font)
    write_docx(hanbit / "registry.docx", *texts.HANBIT_REGISTRY)
    write_xlsx(hanbit / "receivables_aging.xlsx", texts.HANBIT_RECEIVABLES_AGING)
    write_scan(hanbit / "shareholders_scan.png", *texts.HANBIT_SHAREHOLDERS, font=font)
    (hanbit / "public" / "meeting_notice.html").write_text(texts.HANBIT_MEETING_NOTICE, encoding="utf-8")
    write_pdf(saebom / "audit_report_fy2024.pdf", texts.SAEBOM_AUDIT_REPORT, font)
    write_docx(saebom / "registry.docx", *texts.SAEBOM_REGISTRY)


def write_pdf(path: Path, pages: tuple[str, ...], font: Path) -> None:
    """One page per text; its first line is the heading, and lines with `|` are rows of a table."""
    pdf = FPDF(format="A4")
    pdf.set_creation_date(STAMP)
    pdf.set_title(path.stem)
    pdf.set_lang("ko")
    pdf.add_font("nanum", fname=font)
    pdf.set_auto_page_break(False)
    for page in pages:
        heading, *lines = page.strip().splitlines()
        pdf.add_page()
        pdf.set_font("nanum", size=17)
        pdf.cell(text=heading, new_x="LMARGIN", new_y="NEXT", h=14)
        pdf.set_font("nanum", size=11)
        for line in lines:
            _pdf_line(pdf, line)
    pdf.output(str(path))


def _pdf_line(pdf: FPDF, line: str) -> None:
    cells = line.split(" | ")
    if not line:
        pdf.ln(5)
        return
    if len(cells) == 1:
        pdf.cell(text=line, new_x="LMARGIN", new_y="NEXT", h=8)
        return
    for number, cell in enumerate(cells):
        pdf.cell(text=cell, w=50 if number == 0 else 35, h=8, border=1, align="R" if number else "L")
    pdf.ln(8)


def write_docx(path: Path, heading: str, rows: tuple[tuple[str, str], ...]) -> None:
    document = Document()
    document.core_properties.author = ""
    document.core_properties.created = document.core_properties.modified = STAMP.replace(tzinfo=None)
    document.add_heading(heading, level=1)
    table = document.add_table(rows=0, cols=2, style="Table Grid")
    for name, value in rows:
        cells = table.add_row().cells
        cells[0].text, cells[1].text = name, value
    buffer = io.BytesIO()
    document.save(buffer)
    _freeze(path, buffer)


def write_xlsx(path: Path, rows: tuple[tuple[str | int, ...], ...]) -> None:
    """The rows, with a total below them and beside them, as values rather than formulas."""
    header, *body = rows
    workbook = Workbook()
    workbook.properties.created = STAMP.replace(tzinfo=None)
    sheet = workbook.active
    assert sheet is not None
    sheet.title = "매출채권 연령분석"
    sheet.append(["한빛정밀 주식회사 매출채권 연령분석 (2024-12-31, 단위: 백만원)"])
    sheet.append([*header, "합계"])
    for name, *amounts in body:
        sheet.append([name, *amounts, _sum(amounts)])
    columns = list(zip(*(amounts for _, *amounts in body), strict=True))
    totals = [_sum(column) for column in columns]
    sheet.append(["합계", *totals, sum(totals)])
    sheet.column_dimensions["A"].width = 28
    buffer = io.BytesIO()
    workbook.save(buffer)
    _freeze(path, buffer)


def _sum(amounts: list[str | int] | tuple[str | int, ...]) -> int:
    return sum(int(amount) for amount in amounts)


def _freeze(path: Path, buffer: io.BytesIO) -> None:
    """Write the zip again with fixed times: the libraries put the moment of saving into it."""
    modified = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*")
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "docProps/core.xml":
                data = modified.sub(rb"\g<1>" + STAMP.strftime("%Y-%m-%dT%H:%M:%SZ").encode(), data)
            frozen = zipfile.ZipInfo(info.filename, STAMP.timetuple()[:6])
            frozen.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(frozen, data)


def write_scan(
    path: Path,
    heading: str,
    subject: str,
    rows: tuple[tuple[str, str, str], ...],
    closing: str,
    *,
    font: Path,
) -> None:
    """A grey page, laid a little askew as on a scanner's glass; nothing in it but pixels."""
    page = Image.new("L", (1240, 1100), 250)
    draw = ImageDraw.Draw(page)
    big, normal = (ImageFont.truetype(font, size) for size in (52, 30))
    draw.text((470, 70), heading, fill=20, font=big)
    draw.text((110, 190), subject, fill=30, font=normal)
    top, height = 270, 74
    for number, row in enumerate(rows):
        y = top + number * height
        draw.rectangle((110, y, 1130, y + height), outline=60, width=2)
        for x, cell in zip((130, 680, 950), row, strict=True):
            draw.text((x, y + 18), cell, fill=30, font=normal)
    draw.text((110, top + len(rows) * height + 60), closing, fill=30, font=normal)
    askew = page.rotate(0.7, resample=Image.Resampling.BICUBIC, fillcolor=250)
    askew.quantize(16).save(path, optimize=True, dpi=(150, 150))


if __name__ == "__main__":
    main()
