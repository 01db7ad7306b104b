"""A folder to export to, here or at any fsspec address: what lies there, and whole writes."""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crawler.errors import LockedError, UserError
from crawler.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    sha256_file,
    sweep_temporary,
    write_atomic,
)

Writer = Callable[[Path], None]  # writes one file at the path it is given
IN_PROTOCOL = "://"


@dataclass(frozen=True)
class File:
    """A file of an export as it was written: its sum, and its size in bytes."""

    sha256: str
    size: int


Put = Callable[[str, Writer], File]  # (name within the folder, what writes it)


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine: one export at a time, whose files appear together."""

    root: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold its kernel lock; UserError when that cannot be."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root, os.O_RDONLY)
        except OSError as error:
            raise UserError(
                f"cannot export to {self.root} ({error.strerror}): give a folder that is new or "
                "empty"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise LockedError(f"another run is exporting to {self.root}: wait for it") from error
        finally:
            os.close(handle)

    def listing(self) -> dict[str, int]:
        """Every file in the folder and below -> its size; what a killed run left is not told."""
        paths = (path for path in self.root.rglob("*") if path.is_symlink() or not path.is_dir())
        return {
            path.relative_to(self.root).as_posix(): path.lstat().st_size
            for path in paths
            if not path.name.startswith(TEMPORARY_PREFIX)
        }

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, body: bytes) -> None:
        """Write a file in one step."""
        write_atomic(self.root / name, body)

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self.root / name).unlink(missing_ok=True)

    def agrees(self, sums: Mapping[str, str]) -> bool:
        """Whether the files have these sums."""
        return all(sha256_file(self.root / name) == digest for name, digest in sums.items())

    @contextmanager
    def batch(self, names: Iterable[str], begin: Callable[[], None]) -> Iterator[Put]:
        """Put files of these names, which appear together at the end, after `begin` was called."""
        for orphan in self.root.glob(
            TEMPORARY_PREFIX + "*"
        ):  # not below: who knows what lies there
            orphan.unlink()
        for top in {name.partition("/")[0] for name in names}:
            sweep_temporary(self.root / top)
        with ExitStack() as whole:

            def put(name: str, write: Writer) -> File:
                path = whole.enter_context(atomic_path(self.root / name))
                write(path)
                return File(sha256_file(path), path.stat().st_size)

            yield put
            begin()


@dataclass(frozen=True)
class RemoteFolder:
    """A folder at an fsspec address: its files appear one after another."""

    address: str
    system: Any  # fsspec.AbstractFileSystem
    root: str

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing holds others off; UserError when a file lies at the address."""
        with self._told():
            self.system.invalidate_cache()
            if self.root and self.system.isfile(self.root):
                raise UserError(f"cannot export to {self.address}: a file lies there")
        yield

    def listing(self) -> dict[str, int]:
        """Every file in the folder and below -> its size."""
        with self._told():
            found = self.system.find(self.root, detail=True)
        return {
            path.removeprefix(self.root).lstrip("/"): int(about.get("size") or 0)
            for path, about in found.items()
        }

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        with self._told():
            path = self._path(name)
            body: bytes | None = self.system.cat_file(path) if self.system.exists(path) else None
        return body

    def fetch(self, name: str) -> tuple[str, bytes]:
        """Name and bytes of the file at the address itself, or of one in the folder there."""
        with self._told():
            alone = self.system.isfile(self.root)
            body = self.system.cat_file(self.root if alone else self._path(name))
        return (Path(self.root).name if alone else name), body

    def write(self, name: str, body: bytes) -> None:
        """Write a file in the one step that the place allows."""
        with self._told():
            path = self._path(name)
            self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(path, body)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with self._told():
            self.system.rm_file(self._path(name))

    def agrees(self, sums: Mapping[str, str]) -> bool:
        """Taken for granted, for only a download would tell; sizes are compared elsewhere."""
        return True

    @contextmanager
    def batch(self, names: Iterable[str], begin: Callable[[], None]) -> Iterator[Put]:
        """Put files one after another, each by way of a temporary file on this machine."""
        begin()
        with TemporaryDirectory(prefix="earscribe-export-") as room:

            def put(name: str, write: Writer) -> File:
                path = Path(room) / Path(name).name
                write(path)
                file = File(sha256_file(path), path.stat().st_size)
                with self._told():
                    target = self._path(name)
                    self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
                    self.system.put_file(str(path), target)
                path.unlink()
                return file

            yield put

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """UserError for what the place answers: each has errors of its own."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"cannot use {self.address}: {_line(error)}") from error


Folder = LocalFolder | RemoteFolder


def open_folder(target: Path | str) -> Folder:
    """The folder that a person names: a path, or an address such as s3://bucket/folder.

    UserError for a protocol that fsspec does not know, or whose package is not installed.
    """
    if IN_PROTOCOL not in str(target):
        return LocalFolder(Path(target))
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    try:
        system, root = url_to_fs(str(target))
    except Exception as error:
        raise UserError(
            f"cannot use {target}: {_line(error)} (give a folder, or an address that fsspec knows, "
            "such as s3://bucket/folder)"
        ) from error
    if isinstance(system, LocalFileSystem):
        return LocalFolder(Path(root))
    return RemoteFolder(str(target), system, root)


@contextmanager
def near(source: Path | str, name: str) -> Iterator[Path]:
    """A path on this machine of a file, or of file `name` in a folder; either may be remote."""
    folder = open_folder(source)
    if isinstance(folder, LocalFolder):
        yield folder.root / name if folder.root.is_dir() else folder.root
        return
    found, body = folder.fetch(name)
    with TemporaryDirectory(prefix="earscribe-import-") as room:
        path = Path(room) / found
        path.write_bytes(body)
        yield path


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
