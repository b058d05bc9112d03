"""Texts of the report have the contrast of WCAG 2.2 AA in both colour schemes."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

# Source: https://www.w3.org/TR/WCAG22/#contrast-minimum
CONTRAST_MIN = 4.5

# (text, background) as the style sheet combines them.
PAIRS = [
    *((ink, back) for ink in ("ink", "soft", "accent") for back in ("page", "surface", "sunken")),
    *((ink, back) for ink in ("ink", "accent", "risk") for back in ("mark",)),
    ("ink", "mark-target"),
    ("accent", "accent-soft"),
    ("risk", "surface"),
    ("risk", "risk-soft"),
    ("ink", "risk-soft"),
    ("good", "good-soft"),
    ("warn", "warn-soft"),
    ("ink", "warn-soft"),
    *(("#ffffff", f"s{level}") for level in range(1, 6)),
]


def palettes() -> dict[str, dict[str, str]]:
    sheet = (files("rkyc.report") / "templates" / "report.css").read_text("utf-8")
    light, dark, printed = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:3]
    )
    return {"light": light, "dark": light | dark, "print": light | dark | printed}


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize(("text", "back"), PAIRS)
def test_text_stands_out_from_its_background(scheme: str, text: str, back: str) -> None:
    palette = palettes()[scheme]
    assert contrast(palette.get(text, text), palette[back]) >= CONTRAST_MIN
