"""Which failures are the same: a short name that does not change with ids, numbers or addresses.

Two dead letters have one fingerprint when the same step failed with the same code and a message of the
same words. Pure, so that a group keeps its name over processes, days and databases.
"""

from __future__ import annotations

import hashlib
import re

# In this order: what holds others comes first.
_VARYING = (
    # Addresses of the web and of mail, hosts with ports, paths.
    re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE),
    re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    re.compile(r"(?<![\w.])(?:\.{0,2}/)[^\s'\":,)]+"),
    # Ids: UUIDs, hashes, addresses in memory; digits with letters around them, such as req_7fA9.
    re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE),
    re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE),
    re.compile(r"\b(?=[\w-]*\d)[\w-]+(?:[.:][\w-]*\d[\w-]*)*", re.IGNORECASE),
    # What is quoted is a value.
    re.compile(r"'[^']*'|\"[^\"]*\""),
)
_BLANKS = re.compile(r"[\s*]+")
_CHARS = 12


def fingerprint_of(step: str, error_code: str, message: str | None) -> str:
    """Return the name of a group of failures: 12 hexadecimal digits."""
    words = message or ""
    for pattern in _VARYING:
        words = pattern.sub("*", words)
    plain = _BLANKS.sub(" ", words).strip().lower()
    return hashlib.sha256(f"{step}\n{error_code}\n{plain}".encode()).hexdigest()[:_CHARS]
