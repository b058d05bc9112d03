"""Under whom the private Postgres runs, and where its data may lie for that.

Postgres refuses to run as root. An ordinary user runs it as himself. For root, in this order: as the
owner of the data folder, if that is somebody else; as root under another name, in a user namespace
with one uid, so that files stay root's and folders like /root stay reachable; where a container
refuses that, as the user `postgres` or else `nobody`. That account may not reach root's folders:
then the data go to /var/lib/rkyc (or /var/tmp/rkyc), and `pg` in the data folder is a link there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rkyc.errors import EmbeddedError

# Longest socket path in bytes: 107 on Linux, 103 on macOS.
_SOCKET_PATH_BYTES_MAX = 103
_SOCKET_NAME = ".s.PGSQL.5432"
# Where the data of root go when the server's account can't reach root's folders.
_SHARED_FOLDERS = (Path("/var/lib/rkyc"), Path("/var/tmp/rkyc"))  # noqa: S108 -- its owner is checked
_NOBODY = 65534
# The user's own variables (PGDATA, PGOPTIONS, LD_LIBRARY_PATH of a one-file binary …) must not reach the server.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Account:
    """`prefix` goes before every command; with `uid` the child switches to it; None: as we are."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def run(self, command: Sequence[str], *, timeout_s: float = 120.0) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end; output and errors are in `stdout`."""
        return subprocess.run(
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_ENVIRONMENT,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            timeout=timeout_s,
            check=False,
        )

    def spawn(self, command: Sequence[str], log: IO[bytes]) -> int:
        """Start a command that outlives us, in a session of its own (Ctrl-C stays ours); return its pid."""
        process = subprocess.Popen(
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_ENVIRONMENT,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            start_new_session=True,
        )
        # The object must not complain that its process still runs: that is the purpose.
        process.returncode = 0
        return process.pid

    def own(self, path: Path) -> None:
        """Hand a folder and all in it to this account."""
        if self.uid is None or self.gid is None:
            return
        for item in (path, *path.rglob("*")):
            os.chown(item, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Whether this account may pass through all folders above `path`."""
        return self.uid is None or all(self._may_enter(folder.stat()) for folder in path.parents)

    def _may_enter(self, folder: os.stat_result) -> bool:
        if folder.st_uid == self.uid:
            return bool(folder.st_mode & stat.S_IXUSR)
        if folder.st_gid == self.gid:
            return bool(folder.st_mode & stat.S_IXGRP)
        return bool(folder.st_mode & stat.S_IXOTH)


@dataclass(frozen=True, slots=True)
class Place:
    """`home` holds locks and log, `data` is the folder of Postgres, `sockets` the folder of its socket."""

    home: Path
    data: Path
    sockets: Path

    @classmethod
    def of(cls, home: Path) -> Place:
        """Say where everything lies for a data folder, as things are now."""
        data = (home / "pg").resolve()
        return cls(home, data, _socket_folder(data))

    @property
    def socket(self) -> Path:
        return self.sockets / _SOCKET_NAME


def choose_account(place: Place) -> Account:
    """Decide under whom the server runs. See the module's text."""
    if os.geteuid() != 0:
        return Account()
    with contextlib.suppress(FileNotFoundError):
        owner = place.data.stat()
        if owner.st_uid != 0:
            return Account(uid=owner.st_uid, gid=owner.st_gid)
    unshare = shutil.which("unshare")
    if unshare is not None:
        inside = Account(prefix=(unshare, "--user", f"--map-user={_NOBODY}", "--"))
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if inside.run(["true"], timeout_s=10).returncode == 0:
                return inside
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        return Account(uid=_NOBODY, gid=_NOBODY)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def settle(place: Place, account: Account) -> Place:
    """Make sure that the account can reach and write its folders; return where they are then.

    Raises:
        EmbeddedError: nothing works; says what to do.
    """
    try:
        if not account.reaches(place.data):
            if place.data.exists():
                raise EmbeddedError(
                    f"the data in {place.data} can't be reached by uid {account.uid}, as which root must run Postgres "
                    "here: open the folders above it (chmod o+x), or run rkyc as an ordinary user"
                )
            place = _move_out(place, account)
        if place.data.exists() and place.data.stat().st_uid != (account.uid or os.geteuid()):
            account.own(place.data)
        _make_socket_folder(place.sockets, account)
    except OSError as error:
        raise EmbeddedError(
            f"Postgres can't run as root, and {place.data} can't be prepared for uid {account.uid} "
            f"({error.strerror or error}): run rkyc as an ordinary user, or set RKYC_DSN"
        ) from error
    return place


def _move_out(place: Place, account: Account) -> Place:
    """Link `pg` to a folder that the account can reach."""
    for shared in _SHARED_FOLDERS:
        folder = shared / _digest(place.home)
        with contextlib.suppress(PermissionError, FileNotFoundError):
            shared.mkdir(mode=0o755, exist_ok=True)
            if shared.lstat().st_uid not in (0, os.geteuid()) or shared.is_symlink():
                continue
            folder.mkdir(mode=0o755, exist_ok=True)
            link = place.home / "pg"
            link.unlink(missing_ok=True)
            link.symlink_to(folder / "pg")
            return Place.of(place.home)
    raise EmbeddedError(
        f"Postgres can't run as root, uid {account.uid} can't reach {place.home}, and neither /var/lib nor /var/tmp "
        "can be written: point RKYC_DATA_DIR to a folder open to all, run rkyc as an ordinary user, or set RKYC_DSN"
    )


def _socket_folder(data: Path) -> Path:
    folder = data.parent / "socket"
    path = os.fsencode(folder / _SOCKET_NAME)
    # Postgres and its drivers split lists of folders at commas.
    if len(path) > _SOCKET_PATH_BYTES_MAX or b"," in path or b'"' in path:
        return Path("/tmp") / f"rkyc-{_digest(data)}"  # noqa: S108 -- owner and mode are checked
    return folder


def _make_socket_folder(folder: Path, account: Account) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), account.uid):
        raise EmbeddedError(
            f"{folder} belongs to uid {found.st_uid}, not to us: remove it, it is needed for the socket"
        )
    folder.chmod(0o700)
    account.own(folder)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
