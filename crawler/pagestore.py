"""The page store: bodies of fetched pages, compressed, under the hash of their bytes."""

import gzip
import hashlib
from pathlib import Path
from stat import S_ISREG

from crawler.errors import UserError
from crawler.files import atomic_path

PAGES = "pages"  # folder of a data folder


def page_path(data: Path, sha256: str) -> Path:
    """Where the body with this hash lies."""
    return data / PAGES / f"{sha256}.html.gz"


def gather_pages(data: Path) -> None:
    """Move the bodies that an earlier version kept in sub-folders to where they lie now."""
    for path in (data / PAGES).glob("??/*.html.gz"):
        final = data / PAGES / path.name
        if path.is_file() and not final.exists():
            path.replace(final)


def has_page(data: Path, sha256: str) -> bool:
    """Whether a body with this hash is there, and not emptied by a power cut."""
    try:
        found = page_path(data, sha256).stat()
    except OSError:
        return False
    return S_ISREG(found.st_mode) and found.st_size > 0


def store_page(data: Path, body: bytes, *, synced: bool = True) -> str:
    """Keep a body, unless it is there already, and return the sha256 of its bytes.

    Not `synced`, a power cut may empty the file; the page is then asked for again.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    path = page_path(data, sha256)
    if not has_page(data, sha256):
        with atomic_path(path, synced=synced) as temporary:
            temporary.write_bytes(gzip.compress(body, 6, mtime=0))
    return sha256


def load_page(data: Path, sha256: str) -> bytes:
    """The body with this hash; UserError when it is missing or damaged."""
    path = page_path(data, sha256)
    try:
        body = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise UserError(f"cannot read the stored page {path}: {error}") from error
    if hashlib.sha256(body).hexdigest() != sha256:
        raise UserError(f"the stored page {path} is damaged: its bytes have another hash")
    return body
