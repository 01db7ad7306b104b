"""The exported folder as the `datasets` library reads it, and what of it is kept whole."""

import dataclasses
import hashlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from crawler.errors import LockedError, UserError
from dataset import hf
from dataset.export import export_hf
from dataset.hf import hf_schema
from dataset.index import load_pairs, write_pairs
from dataset.pairs import SCHEMA_VERSION
from dataset.parts import load_split
from dataset.schema import COLUMNS, PAIRS_SCHEMA
from dataset.splits import SplitConfig, split

PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test runs over midnight."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def ready(small_corpus: Path) -> Path:
    """The small corpus with a split."""
    split(small_corpus, SplitConfig())
    return small_corpus


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def load(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The folder through `datasets`, with the sound left undecoded."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(cache))
    assert loaded["train"].features["audio"] == datasets.Audio()
    return loaded.cast_column("audio", datasets.Audio(decode=False))


def test_datasets_reads_every_value(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hf"
    made = export_hf(ready, folder)
    loaded = load(folder, tmp_path / "cache", monkeypatch)
    assert set(loaded) == set(PARTS)
    for part in PARTS:
        pairs = load_split(ready, "default", part)
        assert made.counts[part] == len(pairs) == loaded[part].num_rows
        assert loaded[part].column_names == PAIRS_SCHEMA.names
        for pair, row in zip(pairs, loaded[part], strict=True):
            body = row.pop("audio")["bytes"]
            assert hashlib.sha256(body).hexdigest() == pair.sha256
            samples, rate = soundfile.read(io.BytesIO(body), dtype="int16")
            assert (len(samples), rate) == (pair.num_samples, pair.sample_rate)
            for name, value in row.items():
                expected = getattr(pair, name)
                assert value == (list(expected) if isinstance(expected, tuple) else expected), name


def test_the_features_are_those_that_datasets_would_write() -> None:
    datasets = pytest.importorskip("datasets")
    info = json.loads((hf_schema().metadata or {})[b"huggingface"])
    features = datasets.Features.from_dict(info["info"]["features"])
    for column in COLUMNS:
        written, own = features.arrow_schema.field(column.name).type, column.type
        assert written == own or str(written).replace("item", "element") == str(own)


def test_units_and_version_travel_along(ready: Path, tmp_path: Path) -> None:
    export_hf(ready, tmp_path / "hf")
    schema = pq.read_schema(tmp_path / "hf" / "data" / "train-00000-of-00001.parquet")
    assert (schema.field("loudness_lufs").metadata or {})[b"unit"] == b"LUFS"
    assert (schema.metadata or {})[b"earscribe_schema_version"] == str(SCHEMA_VERSION).encode()


def test_the_card_names_every_column_and_part(ready: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    export_hf(ready, tmp_path / "hf")
    _, front, body = (tmp_path / "hf" / "README.md").read_text().split("---\n", 2)
    config = yaml.safe_load(front)["configs"][0]
    assert [entry["split"] for entry in config["data_files"]] == list(PARTS)
    for column in COLUMNS:
        assert f"| `{column.name}` | " in body
        assert f"| {column.unit} | {column.meaning} |" in body
    assert "must not be passed on" not in body


def test_an_export_up_to_date_is_left_alone(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    assert export_hf(ready, folder).work_done == 20
    before, times = files(folder), {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert export_hf(ready, folder).work_done == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
    export_hf(ready, tmp_path / "again")
    assert files(tmp_path / "again") == before


def test_an_older_export_is_replaced_whole(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    split(ready, SplitConfig(fractions=(0.5, 0.5)))
    assert export_hf(ready, folder).work_done == 20
    assert sorted(files(folder)) == [
        "README.md",
        "SHA256SUMS",
        "croissant.json",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]


def test_what_lies_beside_an_export_is_left_alone(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (folder / "notes.txt").write_text("mine")
    split(ready, SplitConfig(seed=3, fractions=(0.5, 0.5)))
    assert export_hf(ready, folder).work_done == 20
    assert (folder / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "data" / "train-mine.parquet").write_text("mine")
    with pytest.raises(UserError, match="such as data/train-mine.parquet"):
        export_hf(ready, folder)
    assert (folder / "data" / "train-mine.parquet").read_text() == "mine"


def test_shards_of_another_maker_are_refused(ready: Path, tmp_path: Path) -> None:
    shard = tmp_path / "hf" / "data" / "train-00000-of-00001.parquet"
    shard.parent.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), shard)
    with pytest.raises(UserError, match="holds other files"):
        export_hf(ready, tmp_path / "hf")


KILLED = """
import os, signal, sys
from pathlib import Path
from dataset.export import export_hf
data, folder, instant = sys.argv[1:]
renamed = []
plain = Path.replace

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def replace(self, target):
    plain(self, target)
    renamed.append(target)
    if len(renamed) == int(instant):
        kill()

Path.replace = replace
export_hf(Path(data), folder, progress=kill if instant == "0" else lambda done, total: None)
"""


# The renames: the card that says unfinished, the shards, the sums, croissant.json, the card.
@pytest.mark.parametrize("renames", [0, 1, 3, 5])
def test_a_killed_export_is_finished(ready: Path, tmp_path: Path, renames: int) -> None:
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    split(ready, SplitConfig(fractions=(0.5, 0.5)))
    export_hf(ready, tmp_path / "straight")
    command = [sys.executable, "-c", KILLED, str(ready), str(folder), str(renames)]
    killed = subprocess.run(command, cwd=Path(__file__).parent.parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    card = (folder / "README.md").read_text()
    assert ("earscribe_export: unfinished" in card) == (renames > 0)
    assert export_hf(ready, folder).work_done == 20
    assert files(folder) == files(tmp_path / "straight")


def test_a_folder_whose_card_is_gone_is_not_touched(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    (folder / "README.md").unlink()
    whole = files(folder)
    with pytest.raises(UserError, match="holds other files"):
        export_hf(ready, folder)
    assert files(folder) == whole


def test_names_in_a_forged_list_lead_nowhere(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    (tmp_path / "mine.txt").write_text("mine")
    with (folder / "SHA256SUMS").open("a") as lines:
        lines.write(f"{'0' * 64}  ../mine.txt\n")
    assert export_hf(ready, folder).work_done == 20
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("end", [b"", bytes(100)])  # another size; the same size
def test_a_damaged_shard_is_written_again(ready: Path, tmp_path: Path, end: bytes) -> None:
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    whole = files(folder)
    shard = min((folder / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-100] + end)
    assert export_hf(ready, folder).work_done == 20
    assert files(folder) == whole


def test_exports_side_by_side(ready: Path, tmp_path: Path) -> None:
    """One to `p` sweeps nothing of one to `p-2`; two to one folder cannot be."""
    nested: list[str] = []

    def meanwhile(done: int, total: int) -> None:
        if not nested:
            nested.append("begun")
            export_hf(ready, tmp_path / "p")
            with pytest.raises(LockedError, match="another run is exporting"):
                export_hf(ready, tmp_path / "p-2")

    export_hf(ready, tmp_path / "p-2", progress=meanwhile)
    assert nested
    assert files(tmp_path / "p") == files(tmp_path / "p-2")


def test_odd_targets(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot export to /dev/null/x") as caught:
        export_hf(ready, Path("/dev/null/x"))
    assert "\n" not in str(caught.value)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    export_hf(ready, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_hf(ready, Path())
    assert files(tmp_path / "here") == files(tmp_path / "real")
    with pytest.raises(UserError, match="no split"):
        export_hf(ready, tmp_path / "hf", split="a" * 300)


def test_large_parts_become_several_bounded_files(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = max(path.stat().st_size for path in (ready / "clips").rglob("*.flac"))
    monkeypatch.setattr(hf, "SHARD_BYTES", 5 * largest)
    monkeypatch.setattr(hf, "GROUP_BYTES", 2 * largest)
    folder = tmp_path / "hf"
    export_hf(ready, folder)
    shards = sorted((folder / "data").glob("train-*.parquet"))
    assert len(shards) > 1
    assert shards[-1].name == f"train-{len(shards) - 1:05d}-of-{len(shards):05d}.parquet"
    for shard in shards:
        file = pq.ParquetFile(shard)
        assert file.metadata.num_row_groups > 1
        for group in range(file.metadata.num_row_groups):
            sounds = file.read_row_group(group, columns=["audio"]).column("audio").to_pylist()
            assert sum(len(sound["bytes"]) for sound in sounds) <= 2 * largest
    loaded = load(folder, tmp_path / "cache", monkeypatch)
    ids = [pair.pair_id for pair in load_split(ready, "default", "train")]
    assert loaded["train"]["pair_id"][:] == ids


@pytest.fixture
def bound(small_corpus: Path) -> Path:
    """The small corpus where three ok pairs may not be passed on, with a split."""
    path = small_corpus / "pairs.parquet"
    pairs = load_pairs(path)
    kept = {pair.pair_id for pair in [pair for pair in pairs if pair.status == "ok"][:3]}
    write_pairs(
        path,
        [dataclasses.replace(p, redistributable=p.pair_id not in kept) for p in pairs],
    )
    split(small_corpus, SplitConfig())
    return small_corpus


def test_what_may_not_be_passed_on_is_refused(bound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    with pytest.raises(UserError, match=r"3 of the 20 pairs .* may not be passed on") as caught:
        export_hf(bound, folder)
    assert "--local" in str(caught.value) and "belongs to others (CC0 1.0)" in str(caught.value)
    assert not folder.exists()
    split(bound, SplitConfig(name="free", where="redistributable"))
    assert export_hf(bound, folder, split="free").total == 17


def test_a_local_export_says_what_it_is(bound: Path, tmp_path: Path) -> None:
    made = export_hf(bound, tmp_path / "hf", local=True)
    card = " ".join((tmp_path / "hf" / "README.md").read_text().split())
    assert "local use only and must not be passed on:** 3 of its 20 pairs" in card
    assert made.details["pairs not to be passed on"] == 3


def test_a_folder_with_other_files_is_refused(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "README.md").write_text("My only copy.")
    with pytest.raises(UserError, match="holds other files"):
        export_hf(ready, folder)
    assert files(folder) == {"README.md": b"My only copy."}
    assert len(list(folder.iterdir())) == 1
    with pytest.raises(UserError, match="cannot export to"):
        export_hf(ready, folder / "README.md")
    (tmp_path / "empty").mkdir()
    assert export_hf(ready, tmp_path / "empty").work_done == 20


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_harmed_clip_leaves_nothing_behind(ready: Path, tmp_path: Path, harm: str) -> None:
    clip = min((ready / "clips").rglob("*.flac"))
    if harm == "missing":
        clip.unlink()
    else:
        clip.write_bytes(b"fLaC")
    out = tmp_path / "out"
    with pytest.raises(UserError, match=f"{clip.name} is {harm}"):
        export_hf(ready, out / "hf")
    assert files(out) == {}


def test_an_unknown_split_lists_the_known(ready: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is: default"):
        export_hf(ready, tmp_path / "hf", split="other")


def test_a_tampered_split_is_not_exported(ready: Path, tmp_path: Path) -> None:
    part = ready / "splits" / "default" / "test.parquet"
    write_pairs(part, load_pairs(part)[:-1])
    with pytest.raises(UserError, match="run `earscribe split` again"):
        export_hf(ready, tmp_path / "hf")


@pytest.mark.parametrize("seconds", ["noon", "1e9", "9" * 30])
def test_a_day_of_writing_that_is_none_is_one_line(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
    with pytest.raises(UserError, match=f"SOURCE_DATE_EPOCH '{seconds}' is no time"):
        export_hf(ready, tmp_path / "hf")
