"""The page store against hashlib and the gzip command's format."""

import gzip
import hashlib
from pathlib import Path

import pytest

from crawler.errors import UserError
from crawler.pagestore import gather_pages, load_page, page_path, store_page

BODIES = [b"", b"<html>\xff\x00</html>", b"a" * 100_000]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_comes_back_under_its_hash(tmp_path: Path, body: bytes) -> None:
    sha256 = store_page(tmp_path, body)
    assert sha256 == hashlib.sha256(body).hexdigest()
    assert load_page(tmp_path, sha256) == body
    path = tmp_path / "pages" / f"{sha256}.html.gz"
    assert page_path(tmp_path, sha256) == path
    assert gzip.decompress(path.read_bytes()) == body


def test_the_same_body_is_kept_once_and_written_alike(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        store_page(folder, BODIES[2])
        store_page(folder, BODIES[2])
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(stored) == 2
    assert stored[0].read_bytes() == stored[1].read_bytes()


@pytest.mark.parametrize("damage", ["missing", "truncated", "exchanged", "noise"])
def test_a_damaged_page_is_named(tmp_path: Path, damage: str) -> None:
    sha256 = store_page(tmp_path, BODIES[2])
    path = page_path(tmp_path, sha256)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        bytes_by_damage = {
            "truncated": whole[:-9],
            "exchanged": gzip.compress(b"other"),
            "noise": whole[:12] + b"\xff" * 20 + whole[32:],
        }
        path.write_bytes(bytes_by_damage[damage])
    with pytest.raises(UserError, match=sha256):
        load_page(tmp_path, sha256)


def test_pages_in_the_folders_of_before_are_kept(tmp_path: Path) -> None:
    sha256 = store_page(tmp_path, b"<p>a page</p>")
    before = tmp_path / "pages" / sha256[:2] / page_path(tmp_path, sha256).name
    before.parent.mkdir()
    page_path(tmp_path, sha256).replace(before)
    gather_pages(tmp_path)
    assert load_page(tmp_path, sha256) == b"<p>a page</p>"


def test_a_page_that_is_there_is_not_written_over_by_an_older_one(tmp_path: Path) -> None:
    sha256 = store_page(tmp_path, b"<p>a page</p>")
    before = tmp_path / "pages" / sha256[:2]
    before.mkdir()
    (before / page_path(tmp_path, sha256).name).write_bytes(b"damaged")
    (tmp_path / "pages" / "xx" / "odd.html.gz").mkdir(parents=True)
    gather_pages(tmp_path)
    assert load_page(tmp_path, sha256) == b"<p>a page</p>"
    assert not (tmp_path / "pages" / "odd.html.gz").exists()
