"""What several commands take: options of one name and meaning, and how their values are read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from rkyc.errors import ConfigError, InvalidInputError
from rkyc.flow import payload

DsnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--dsn", help="The Postgres to use. [default: RKYC_DSN, else the embedded one]", metavar="DSN"
    ),
]
AppOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--app",
        help="Pipelines of your own; may be given several times.",
        metavar="MODULE:REGISTRY|FILE.py:REGISTRY",
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def make_program(**options: Any) -> typer.Typer:
    """Return an empty command, or group of commands, in the house's look."""
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def read_json_input(given: str, place: str = "--input") -> Any:
    """Return the value of an option or argument: JSON, or `@FILE` with JSON in it.

    Raises:
        InvalidInputError: no such file, or not JSON.
    """
    text: str | bytes = given
    if given.startswith("@"):
        option, place = place, given[1:]
        try:
            text = Path(place).read_bytes()
        except OSError as error:
            raise InvalidInputError(f"{option} {given}: {place} can't be read ({error.strerror})") from error
    try:
        return payload.decode(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{place} is not JSON: {error.message}; expected a value such as '{{\"n\": 1}}', or @FILE"
        ) from error


def read_instant(given: str) -> datetime:
    """Return the instant of an ISO 8601 text; without an offset it is local time.

    Raises:
        ConfigError: another format.
    """
    try:
        return datetime.fromisoformat(given).astimezone()
    except ValueError as error:
        raise ConfigError(
            f"--run-at {given!r} can't be read: expected such as 2030-01-31T09:00:00+09:00"
        ) from error
