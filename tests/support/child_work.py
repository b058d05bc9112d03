"""Functions for child processes: what is sent there must be importable here and there."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from rkyc.errors import UnsupportedTypeError
from rkyc.flow.step import step


def add(left: int, right: int) -> int:
    return left + right


def tell_pid(path: str, seconds: float = 0.0) -> int:
    """Write the child's pid, then compute for so long without a look at anything."""
    Path(path).write_text(str(os.getpid()))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return os.getpid()


def crash() -> None:
    """End by a segmentation fault."""
    ctypes.string_at(0)


def leave(code: int) -> None:
    os._exit(code)


def refuse(subject: str) -> None:
    raise UnsupportedTypeError(f"{subject} can't be read", {"subject": subject})


def fail() -> None:
    raise ZeroDivisionError("by zero")


def print_much() -> str:
    print("noise " * 100_000)
    return "clean"


def repeat(text: str, times: int) -> str:
    return text * times


def unpicklable() -> Any:
    return lambda: None


@step(run_in="process")
def rest(ctx: Any, input: dict[str, Any]) -> dict[str, Any]:
    time.sleep(input["seconds"])
    return {}
