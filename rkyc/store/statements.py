"""Loads SQL statements from the `.sql` file beside a module.

A file holds statements under `-- name: stem` headers, with `:name` parameters. They are numbered
here for asyncpg at import; nothing is ever interpolated. The header stays the first line of the
text, so `pg_stat_activity` shows an operator which statement runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_HEADER = re.compile(r"^-- name: (\w+)[ \t]*\n", re.MULTILINE)
_TOKEN = re.compile(
    r"""
    --[^\n]* | /\*.*?\*/ | ::                                          # not parameters: comments, casts,
  | \b[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "[^"]*"               # strings and quoted names,
  | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$                                    # dollar quotes
  | (?<![\w\]\)]):(?P<param>[a-z_]\w*)                                 # a parameter
    """,
    re.VERBOSE | re.DOTALL,
)


class Statement:
    """One statement: `text` with `$n` parameters, `params` their names in order."""

    __slots__ = ("name", "params", "text")

    def __init__(self, name: str, text: str) -> None:
        params: list[str] = []

        def number(match: re.Match[str]) -> str:
            param = match["param"]
            if param is None:
                return match[0]
            if param not in params:
                params.append(param)
            return f"${params.index(param) + 1}"

        self.name = name
        self.text = f"-- name: {name}\n" + _TOKEN.sub(number, text).strip().rstrip(";")
        self.params = tuple(params)

    def args(self, **values: Any) -> list[Any]:
        """Order named values for asyncpg.

        Raises:
            TypeError: a name is missing or unknown; the caller's bug.
        """
        if values.keys() != set(self.params):
            raise TypeError(f"statement {self.name} takes {sorted(self.params)}, got {sorted(values)}")
        return [values[param] for param in self.params]

    def __repr__(self) -> str:
        return f"Statement({self.name})"


def load(module_file: str) -> dict[str, Statement]:
    """Read the statements of the `.sql` file beside a module: `load(__file__)`."""
    text = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    parts = iter(_HEADER.split(text)[1:])
    return {name: Statement(name, body) for name, body in zip(parts, parts, strict=True)}
