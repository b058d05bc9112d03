"""Child processes for CPU-bound work and for parsers that may crash: killed, not asked, to stop.

A child is this program started again with `_child`; it takes pickled (function, arguments) on its
standard input and answers on its standard output, one after another, until its input closes. An
idle child is kept for the next call. Cancelling a call kills its child, whatever it is doing; a
child that dies takes nothing with it but its call.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from rkyc.errors import ChildProcessDiedError, OutOfMemoryError, RkycError

T = TypeVar("T")
_SIZE = struct.Struct(">Q")
# Source: linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Idle children that are kept: each holds its imports in memory.
_IDLE_MAX = 2
# How many run at once: more than cores gain nothing for CPU-bound work.
_RUNNING_MAX = max(2, os.cpu_count() or 2)


class ChildProcesses:
    """A small set of child processes."""

    def __init__(self) -> None:
        self._idle: list[asyncio.subprocess.Process] = []
        # Whoever calls `run_placed` has taken one.
        self.places = asyncio.Semaphore(_RUNNING_MAX)
        self._is_closed = False

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Call a module-level function in a child and return its result.

        Raises:
            ChildProcessDiedError: the child ended without an answer.
            OutOfMemoryError: the child's memory ran out.
            RkycError: what the function raised; any other error comes as `RuntimeError` with its text.
        """
        await self.places.acquire()
        return await self.run_placed(fn, *args)

    async def run_placed(self, fn: Callable[..., T], *args: Any) -> T:
        """Like `run`, in a place that was taken; gives it back."""
        try:
            answer, child = await self._ask(pickle.dumps((fn, args)))
            is_good, value = pickle.loads(answer)
            # One that ran out of memory would keep what it has taken.
            if self._is_closed or len(self._idle) >= _IDLE_MAX or isinstance(value, OutOfMemoryError):
                await _kill(child)
            else:
                self._idle.append(child)
        finally:
            self.places.release()
        if not is_good:
            raise value
        result: T = value
        return result

    async def _ask(self, request: bytes) -> tuple[bytes, asyncio.subprocess.Process]:
        """Return a child's answer, and the child.

        An idle child may have been killed a moment ago, and nobody was told yet: then a new one is asked.
        """
        idle = self._take_idle()
        if idle is not None:
            with contextlib.suppress(ChildProcessDiedError):
                return await _exchange_or_kill(idle, request), idle
        child = await _start_child()
        return await _exchange_or_kill(child, request), child

    def _take_idle(self) -> asyncio.subprocess.Process | None:
        """Return an idle child that still lives, if there is one."""
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
        return None

    async def close(self) -> None:
        """Kill the idle children; running ones end with their calls."""
        self._is_closed = True
        while self._idle:
            await _kill(self._idle.pop())


def child_command() -> list[str]:
    """Return the command that starts this program again as a child."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "_child"]
    return [sys.executable, "-m", "rkyc.engine.children"]


async def _start_child() -> asyncio.subprocess.Process:
    environ = dict(os.environ)
    if not getattr(sys, "frozen", False):
        # The child must import what the parent's functions live in (an --app module in the working folder).
        environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return await asyncio.create_subprocess_exec(
        *child_command(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environ,
        # Its own session: Ctrl-C in the terminal goes to the parent alone.
        start_new_session=True,
    )


async def _exchange(child: asyncio.subprocess.Process, request: bytes) -> bytes:
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(_SIZE.pack(len(request)) + request)
        await child.stdin.drain()
        (size,) = _SIZE.unpack(await child.stdout.readexactly(_SIZE.size))
        return await child.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, OSError, RuntimeError) as error:
        # RuntimeError is what uvloop says of a pipe that is closed already.
        code = await child.wait()
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ChildProcessDiedError(
            f"the child process ended without an answer ({cause})", {"returncode": code}
        ) from error


async def _exchange_or_kill(child: asyncio.subprocess.Process, request: bytes) -> bytes:
    try:
        return await _exchange(child, request)
    except BaseException:
        await _kill(child)
        raise


async def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        try:
            child.kill()
        except ProcessLookupError:
            pass
        await asyncio.shield(child.wait())


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, however busy it is; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve_parent() -> None:
    """The child's side: answer calls until the parent goes away."""
    die_with_parent()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not get between the answers.
    os.dup2(2, 1)
    while head := source.read(_SIZE.size):
        (size,) = _SIZE.unpack(head)
        answer = _answer(source.read(size))
        sink.write(_SIZE.pack(len(answer)) + answer)
        sink.flush()


def _answer(request: bytes) -> bytes:
    try:
        fn, args = pickle.loads(request)
        return pickle.dumps((True, fn(*args)))
    except RkycError as error:
        return pickle.dumps((False, error))
    except MemoryError:
        return pickle.dumps((False, OutOfMemoryError("the child process ran out of memory")))
    except BaseException as error:  # the boundary of the process: the parent must hear of it
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


if __name__ == "__main__":
    serve_parent()
