"""Exports to other places than a folder of this machine."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import LockedError, UserError
from dataset.export import export_files, export_hf, export_ids_folder
from dataset.ids import export_ids, import_ids
from dataset.places import LocalFolder, open_folder
from dataset.splits import SplitConfig, split

memory = pytest.importorskip("fsspec.implementations.memory")
FORMS = {"hf": export_hf, "files": export_files, "ids": export_ids_folder}
AT = "memory://bucket/corpus"


@pytest.fixture
def ready(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    split(small_corpus, SplitConfig())
    return small_corpus


@pytest.fixture
def store() -> Iterator[Any]:
    """The files of this process's memory://, by their paths."""
    memory.MemoryFileSystem.store.clear()
    yield memory.MemoryFileSystem.store
    memory.MemoryFileSystem.store.clear()


def held(store: Any) -> dict[str, bytes]:
    return {path.removeprefix("/bucket/corpus/"): file.getvalue() for path, file in store.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("form", FORMS)
def test_the_same_files_lie_at_any_address(
    ready: Path, tmp_path: Path, store: Any, form: str
) -> None:
    export = FORMS[form]
    made = export(ready, AT)
    assert (made.artifact, made.work_done) == (AT, 20)
    assert export(ready, f"file://{tmp_path}/out").work_done == 20
    assert held(store) == files(tmp_path / "out")
    assert isinstance(open_folder(f"file://{tmp_path}/out"), LocalFolder)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written to memory://, in its order."""
    names: list[str] = []

    def noted(plain: Callable[..., Any], place: int) -> Callable[..., Any]:
        @functools.wraps(plain)
        def write(self: Any, *given: Any, **more: Any) -> Any:
            names.append(given[place].removeprefix("/bucket/corpus/"))
            return plain(self, *given, **more)

        return write

    system = memory.MemoryFileSystem
    monkeypatch.setattr(system, "pipe_file", noted(system.pipe_file, 0))
    monkeypatch.setattr(system, "put_file", noted(system.put_file, 1))
    return names


def test_data_come_first_and_the_card_last(ready: Path, store: Any, written: list[str]) -> None:
    export_hf(ready, AT)
    assert written[0] == written[-1] == "README.md"
    assert written[-3:] == ["SHA256SUMS", "croissant.json", "README.md"]
    assert [name.split("-")[0] for name in written[1:-3]] == [
        "data/train", "data/validation", "data/test"
    ]  # fmt: skip
    written.clear()
    assert export_hf(ready, AT).work_done == 0
    assert written == []


def test_an_export_broken_off_is_finished(ready: Path, tmp_path: Path, store: Any) -> None:
    export_hf(ready, AT)
    split(ready, SplitConfig(fractions=(0.5, 0.5)))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_hf(ready, AT, progress=stop)
    assert b"earscribe_export: unfinished" in held(store)["README.md"]
    assert export_hf(ready, AT).work_done == 20
    export_hf(ready, tmp_path / "straight")
    assert held(store) == files(tmp_path / "straight")


def test_a_truncated_file_is_written_again(ready: Path, store: Any) -> None:
    export_hf(ready, AT)
    whole = held(store)
    shard = "/bucket/corpus/data/test-00000-of-00001.parquet"
    store[shard].truncate(100)
    assert len(held(store)["data/test-00000-of-00001.parquet"]) == 100
    assert export_hf(ready, AT).work_done == 20
    assert held(store) == whole


def test_other_files_are_not_touched(ready: Path, store: Any) -> None:
    system = memory.MemoryFileSystem()
    system.pipe_file("/bucket/corpus/thesis.txt", b"mine")
    with pytest.raises(UserError, match=r"holds other files, such as thesis\.txt"):
        export_hf(ready, AT)
    with pytest.raises(UserError, match="a file lies there"):
        export_hf(ready, f"{AT}/thesis.txt")
    assert held(store) == {"thesis.txt": b"mine"}


def test_a_place_that_refuses_is_told_in_one_line(
    ready: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise PermissionError("Access Denied\nat the gate")

    monkeypatch.setattr(memory.MemoryFileSystem, "put_file", refuse)
    with pytest.raises(UserError) as told:
        export_hf(ready, AT)
    assert str(told.value) == f"cannot use {AT}: Access Denied"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nowhere://bucket/x", "Protocol not known: nowhere"),
        ("oci://bucket/x", "Install ocifs"),
    ],
)
def test_an_address_that_cannot_be_used(ready: Path, address: str, told: str) -> None:
    for export in FORMS.values():
        with pytest.raises(UserError, match=told) as caught:
            export(ready, address)
        assert "\n" not in str(caught.value) and address in str(caught.value)


def test_a_local_address_keeps_the_promises_of_a_folder(ready: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/out"

    def meanwhile(done: int, total: int) -> None:
        with pytest.raises(LockedError):
            export_hf(ready, tmp_path / "out")

    export_hf(ready, address, progress=meanwhile)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot export to"):
        export_hf(ready, f"file://{tmp_path}/file")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no /sys to be kept out of")
def test_a_folder_without_permission_is_told_in_one_line(ready: Path) -> None:
    with pytest.raises(UserError, match="cannot export to /sys/kernel/earscribe") as told:
        export_files(ready, "/sys/kernel/earscribe")
    assert "\n" not in str(told.value)


def test_a_release_comes_back_from_any_address(ready: Path, tmp_path: Path, store: Any) -> None:
    export_ids_folder(ready, AT)
    export_ids_folder(ready, tmp_path / "release")
    export_ids(ready, tmp_path / "ids.jsonl")
    sources = [AT, f"{AT}/ids.parquet", tmp_path / "release", str(tmp_path / "ids.jsonl")]
    for number, source in enumerate(sources):
        assert import_ids(tmp_path / str(number), source).counts == {"ok": 20}
    kept = {(tmp_path / str(n) / "ids.parquet").read_bytes() for n in range(len(sources))}
    assert len(kept) == 1
    with pytest.raises(UserError, match=r"cannot use memory://bucket/none"):
        import_ids(tmp_path / "data", "memory://bucket/none")
    with pytest.raises(UserError, match=r"no release at .*clips/ids\.parquet"):
        import_ids(tmp_path / "data", ready / "clips")
    with pytest.raises(UserError, match="give a folder's address"):
        export_ids(ready, f"{AT}/ids.parquet")
