"""Which addresses a report may link to.

Only http and https links become links; anything else (`javascript:`, `data:`, a relative path) stays
text. Control characters and spaces inside an address refuse it: browsers drop some of them and would
then see another scheme than we do.
"""

from __future__ import annotations

import re

_WEB_URL = re.compile(
    r"https?://[^\s\x00-\x20\x7f-\x9f\"'<>\\^`{|}\u200b-\u200f\u202a-\u202e\u2060-\u2069]+", re.IGNORECASE
)


def safe_url(address: str) -> str | None:
    """Return the address if it may be a link, None otherwise."""
    return address if _WEB_URL.fullmatch(address) else None
