"""Whole writes."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crawler.errors import UserError
from crawler.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    sha256_file,
    sweep_temporary,
    write_atomic,
)


def test_write_makes_the_folder_and_the_whole_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b.txt", b"whole")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"whole"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_an_exception_leaves_the_old_file_and_no_orphan(tmp_path: Path) -> None:
    final = tmp_path / "b.txt"
    write_atomic(final, b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert final.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_in_the_place_of_the_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(UserError, match=r"b.txt is a folder: move it away"):
        write_atomic(tmp_path / "b.txt", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_a_kill_in_the_middle_leaves_the_old_file_and_a_sweepable_orphan(tmp_path: Path) -> None:
    final = tmp_path / "b.txt"
    write_atomic(final, b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from crawler.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(final)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert final.read_bytes() == b"old"
    assert [p.name.startswith(TEMPORARY_PREFIX) for p in tmp_path.iterdir() if p != final] == [True]
    assert sweep_temporary(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [final]


def test_sha256_of_a_file(tmp_path: Path) -> None:
    body = os.urandom(100_000)
    (tmp_path / "x").write_bytes(body)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(body).hexdigest()
