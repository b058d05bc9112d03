"""The environment of a rival: a folder with its pinned packages, made once and kept.

Nothing of a rival enters the environment of rkyc: their clients conflict with each other's and ours.
Wheels only for Python, no install scripts for Node: nothing is built and nobody's code runs at install.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.errors import RivalError

ROOT = Path(__file__).parents[2]
WORKERS = Path(__file__).parent / "workers"
# Holds what was asked for; written last, so that a broken install is made anew.
_MARKER = "installed.json"


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """Packages of PyPI in a venv of their own, with the Python that runs rkyc here."""

    requirements: Sequence[str]

    def install(self, folder: Path) -> None:
        """Make the venv, unless it is there.

        Raises:
            RivalError: the packages could not be had.
        """
        wanted = [sys.version, *self.requirements]
        if _is_installed(folder, wanted):
            return
        python = _python(folder)
        if _have_uv():
            _run(["uv", "venv", "--quiet", "--python", sys.executable, folder / "venv"])
            install = ["uv", "pip", "install", "--quiet", "--python", python]
        else:
            _run([sys.executable, "-m", "venv", folder / "venv"])
            install = [python, "-m", "pip", "install", "--quiet"]
        _run([*install, "--only-binary", ":all:", *self.requirements])
        _mark_installed(folder, wanted)

    def command(self, folder: Path, worker: str) -> tuple[list[str], Path]:
        """Return the command of a worker script, and the folder to run it in."""
        return [str(_python(folder)), "-m", f"bench.peers.workers.{worker}"], ROOT


@dataclass(frozen=True, slots=True)
class NodePackages:
    """Packages of npm in a folder of their own; Node itself must be there."""

    dependencies: Mapping[str, str]

    def install(self, folder: Path) -> None:
        """Fill the folder, unless it is filled.

        Raises:
            RivalError: Node is missing, or the packages could not be had.
        """
        wanted = dict(self.dependencies)
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise RivalError("node and npm are not on PATH: install Node 20 or later (Debian: nodejs, npm)")
        if _is_installed(folder, wanted):
            return
        manifest = {"private": True, "dependencies": wanted}
        (folder / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        _run(
            ["npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        )
        _mark_installed(folder, wanted)

    def command(self, folder: Path, worker: str) -> tuple[list[str], Path]:
        """Return the command of a worker script, and the folder to run it in: packages are looked up from there."""
        return ["node", str(WORKERS / f"{worker}.mjs")], folder


def _python(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def _have_uv() -> bool:
    # A shim of a version manager is on PATH even where it leads nowhere: only running it tells.
    if shutil.which("uv") is None:
        return False
    return subprocess.run(["uv", "--version"], capture_output=True, check=False).returncode == 0


def _is_installed(folder: Path, wanted: object) -> bool:
    marker = folder / _MARKER
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == wanted:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return False


def _mark_installed(folder: Path, wanted: object) -> None:
    (folder / _MARKER).write_text(json.dumps(wanted), encoding="utf-8")


def _run(command: Sequence[object]) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RivalError(f"{' '.join(words[:3])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
