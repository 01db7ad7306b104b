"""Whole writes: no file under a final name is ever partial."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.errors import UserError

TEMPORARY_PREFIX = ".tmp-"  # swept at the start of a stage


@contextmanager
def atomic_path(final: Path, *, synced: bool = True) -> Iterator[Path]:
    """Give a temporary path in the folder of `final`; on a clean exit it becomes `final`.

    The file is flushed to disk before the rename and the folder after it, so that a crash
    leaves the old file or the new one. An exception removes the temporary file. Not
    `synced`, a file is whole after a killed process but may be empty after a power cut: for what
    can be had again. UserError when `final` is a folder.
    """
    if final.is_dir():
        raise UserError(f"{final} is a folder: move it away, a file is written there")
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=final.suffix, dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if synced:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(final)
        if synced:
            fsync_folder(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(final: Path, body: bytes) -> None:
    """Write `body` to `final` in one atomic step."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(body)


def fsync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_temporary(folder: Path, spared: tuple[str, ...] = ()) -> int:
    """Remove what killed runs left in `folder` and below; returns how many files.

    Names that end with one of `spared` are left: somebody goes on with them.
    """
    orphans = [
        path
        for path in folder.rglob(TEMPORARY_PREFIX + "*")
        if path.is_file() and not path.name.endswith(spared)
    ]
    for path in orphans:
        path.unlink(missing_ok=True)
    return len(orphans)


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as body:
        return hashlib.file_digest(body, "sha256").hexdigest()
