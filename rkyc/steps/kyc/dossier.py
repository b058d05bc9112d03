"""Reads a dossier folder into a job's input and the files to upload; touches no database.

Everything that the pipeline would refuse for good is refused here, before anything is uploaded, with the
file, the line or field, and what to do. A paper that can't be read is no reason to refuse: the step that
reads papers reports it and goes on. Links are not followed: what is uploaded lies in the folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rkyc.errors import DossierError, InvalidInputError
from rkyc.steps.kyc.json_input import describe_fields
from rkyc.steps.kyc.layout import CORP, EXPECTED, PREVIOUS, FileKind, classify_file
from rkyc.steps.kyc.schemas import FILE_BYTES_MAX, FILES_MAX, FileRef, KycInput, Lang
from rkyc.steps.kyc.snapshot_document import check_files, parse_corp

_CHUNK_BYTES = 1 << 20
# Far above any dossier: ends the walk through a folder that was named by mistake.
_ENTRIES_MAX = 20_000
_FOR_SNAPSHOT = (FileKind.CORP, FileKind.STATEMENTS, FileKind.XBRL, FileKind.BANK)


@dataclass(frozen=True, slots=True)
class Dossier:
    """`input` is the job's input; `files` are (sha256, path) of what it names, each hash once."""

    input: dict[str, Any]
    files: list[tuple[str, Path]]
    warnings: list[str]


def read_dossier(folder: Path, *, lang: Lang = "ko") -> Dossier:
    """Check a dossier and make its manifest.

    Raises:
        DossierError: it can't be analysed as it is; `details` hold the file and the line or field.
    """
    paths = _list_files(folder)
    if CORP not in paths:
        raise DossierError(
            f'{folder}: no corp.json; write at least {{"name": "…"}} into it (UTF-8) and submit again',
            {"file": CORP},
        )
    corp = parse_corp(_read(paths[CORP], CORP), file_name=CORP)
    warnings: list[str] = []
    files = _choose(paths, "", warnings)
    previous = _choose(paths, PREVIOUS, warnings)
    _check_parts(files, "")
    _check_parts(previous, PREVIOUS)
    if previous and CORP not in previous:
        warnings.append("previous/corp.json is missing: changes of name or CEO can't be told")
    del files[CORP]
    if len(files) + len(previous) > FILES_MAX:
        raise DossierError(
            f"{folder}: {len(files) + len(previous)} files, at most {FILES_MAX} are taken; leave some out", {}
        )
    refs = {name: _describe(name, path) for name, path in files.items()}
    refs_before = {name: _describe(name, path) for name, path in previous.items()}
    manifest = KycInput(corp=corp, files=list(refs.values()), previous=list(refs_before.values()), lang=lang)
    uploads = {ref.sha256: files[name] for name, ref in refs.items()}
    uploads |= {ref.sha256: previous[name] for name, ref in refs_before.items()}
    return Dossier(manifest.model_dump(mode="json", exclude_none=True), sorted(uploads.items()), warnings)


def check_manifest(value: Any) -> KycInput:
    """Check a manifest that came as it is, over HTTP or SQL.

    Raises:
        InvalidInputError: a field that does not fit, named.
    """
    try:
        manifest = KycInput.model_validate(value)
    except ValidationError as error:
        described = describe_fields(error, file_name="input")
        raise InvalidInputError(described.message, described.details) from error
    for part in (manifest.files, manifest.previous):
        names = [ref.name for ref in part]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInputError(f"input: the file {twice} is named twice; name each file once")
    return manifest


def _list_files(folder: Path) -> dict[str, Path]:
    """Return the files by normalised name relative to the folder; hidden ones are left out."""
    if not folder.is_dir():
        raise DossierError(f"{folder}: no such folder; a dossier is a folder with a corp.json", {})
    found: dict[str, Path] = {}
    for path in _walk(folder):
        name = _name(path.relative_to(folder))
        if name in found:
            raise DossierError(
                f"{name}: two files have this name once it is written in Unicode form NFC; rename one",
                {"file": name},
            )
        found[name] = path
    return dict(sorted(found.items()))


def _walk(folder: Path) -> Iterator[Path]:
    """Give regular files, sorted; refuse links, devices and pipes."""
    entries = 0
    stack = [folder]
    while stack:
        for path in sorted(_entries(stack.pop())):
            entries += 1
            if entries > _ENTRIES_MAX:
                raise DossierError(
                    f"{folder}: more than {_ENTRIES_MAX} entries; is this the right folder?", {}
                )
            if path.name.startswith("."):
                continue
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                stack.append(path)
            elif stat.S_ISREG(mode):
                yield path
            else:
                kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
                shown = os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
                raise DossierError(
                    f"{shown}: is {kind}; put a copy of the file in its place", {"file": shown}
                )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DossierError(
            f"{folder}: can't be read ({error.strerror}); check its permissions", {}
        ) from error


def _name(relative: Path) -> str:
    name = relative.as_posix()
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(relative).decode("utf-8", "replace")
        raise DossierError(f"{shown}: the file's name is not UTF-8; rename it", {"file": shown}) from error
    if "\\" in name or any(ord(character) < 32 for character in name) or len(name) > 400:
        raise DossierError(
            f"{name!r}: the file's name is too long or holds a backslash or control character; rename it",
            {"file": name},
        )
    return unicodedata.normalize("NFC", name)


def _choose(paths: dict[str, Path], prefix: str, warnings: list[str]) -> dict[str, Path]:
    """Return what is analysed, by name relative to `prefix`; of `previous/` the snapshot's parts alone."""
    chosen = {}
    for full_name, path in paths.items():
        if full_name.startswith(PREVIOUS) != bool(prefix):
            continue
        name = full_name.removeprefix(prefix)
        kind = classify_file(name)
        if kind is None and full_name != EXPECTED:
            warnings.append(f"{full_name}: not part of a dossier's layout, left out")
        elif kind is not None and (not prefix or kind in _FOR_SNAPSHOT):
            chosen[name] = path
    return chosen


def _check_parts(files: dict[str, Path], prefix: str) -> None:
    """Read the parts of the snapshot, so that a bad one is refused now and not in the worker."""
    parts = {
        name: _read(path, prefix + name)
        for name, path in files.items()
        if classify_file(name) in _FOR_SNAPSHOT
    }
    try:
        if prefix and CORP in parts:
            parse_corp(parts[CORP], file_name=CORP)
        check_files(parts)
    except DossierError as error:
        if not prefix:
            raise
        raise DossierError(f"{prefix}{error.message}", error.details) from error


def _describe(name: str, path: Path) -> FileRef:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                size += len(chunk)
                _check_size(size, name)
                digest.update(chunk)
    except OSError as error:
        raise DossierError(
            f"{name}: can't be read ({error.strerror}); check its permissions", {"file": name}
        ) from error
    return FileRef(name=name, sha256=digest.hexdigest(), size=size)


def _read(path: Path, name: str) -> bytes:
    try:
        _check_size(path.stat().st_size, name)
        return path.read_bytes()
    except OSError as error:
        raise DossierError(
            f"{name}: can't be read ({error.strerror}); check its permissions", {"file": name}
        ) from error


def _check_size(size: int, name: str) -> None:
    if size > FILE_BYTES_MAX:
        raise DossierError(
            f"{name}: larger than {FILE_BYTES_MAX // 2**20} MB, the largest file that is taken; "
            "split it or leave it out",
            {"file": name, "bytes_max": FILE_BYTES_MAX},
        )
