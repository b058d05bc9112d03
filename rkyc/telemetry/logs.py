"""Logs: events with fields, one line each, on stderr.

`get_logger(__name__)` gives a logger whose methods take an event of `telemetry.events` and fields;
nothing is rendered below the level. `setup_logger` is the only place that makes a handler, and the
only one that the application calls; without it the standard library's rules hold, so that rkyc stays
quiet inside another program. Built on the standard library alone: it loads in no time, and an
operator's own handlers see every line. Fields never hold payloads, secrets or personal data.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, TextIO

import orjson

TEXT_FORMAT = "[%(asctime)s] %(levelname)s %(name)s: %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
# Longer values are cut: a log line is no place for documents.
FIELD_CHARS_MAX = 500

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f]+")


class EventLogger:
    """Writes events with fields; `bind` returns one that adds fields to each."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: dict[str, Any]) -> None:
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: Any) -> EventLogger:
        """Return a logger that adds these fields to every line."""
        return EventLogger(self._logger, {**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.WARNING):
            self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.ERROR):
            self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        # `exc_info=True` adds the stack of the error that is being handled.
        exc_info = fields.pop("exc_info", None)
        self._logger.log(level, _Line(event, {**self._fields, **fields}), exc_info=exc_info, stacklevel=3)


class _Line:
    """The message of a record: text for anyone's handler, fields for ours."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={_render(value)}" for name, value in self.fields.items())])


def _render(value: Any) -> str:
    """Write a value so that it stays one word of one line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if len(text) > FIELD_CHARS_MAX:
        text = text[:FIELD_CHARS_MAX] + "…"
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def get_logger(name: str) -> EventLogger:
    """Return the logger of a module; pass `__name__`."""
    return EventLogger(logging.getLogger(name), {})


def parse_level(level: str) -> int:
    """Return the number of a level in any case; an unknown one is INFO."""
    return _LEVELS.get(level.strip().upper(), logging.INFO)


def setup_logger(
    name: str = "rkyc", *, level: str = "INFO", log_format: str = "text", stream: TextIO | None = None
) -> logging.Logger:
    """Send what `name` and its children log to stderr (or `stream`), and return the logger.

    `log_format` is `text` or `json`. Calling it again changes level and format; there is never
    more than one handler of ours, so each line is written once.
    """
    logger = logging.getLogger(name)
    logger.setLevel(parse_level(level))
    logger.propagate = False
    ours = [handler for handler in logger.handlers if isinstance(handler, _Handler)]
    handler = ours[0] if ours else _Handler()
    handler.target = stream
    handler.setFormatter(
        _JsonFormatter() if log_format == "json" else logging.Formatter(TEXT_FORMAT, DATE_FORMAT)
    )
    if not ours:
        logger.addHandler(handler)
    return logger


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at that moment, unless it was given a stream."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.target: TextIO | None = None

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a plain attribute in the parent
        return self.target or sys.stderr


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (UTC), level, logger, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "ts": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
        }
        if isinstance(record.msg, _Line):
            fields = {name: _shorten(value) for name, value in record.msg.fields.items()}
            line = {**fields, **line, "event": record.msg.event}
        else:
            line["event"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shorten(value: Any) -> Any:
    """Leave numbers as they are; cut everything else to its first characters."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or -(2**53) < value < 2**53 else str(value)
    text = str(value)
    return text if len(text) <= FIELD_CHARS_MAX else text[:FIELD_CHARS_MAX] + "…"
