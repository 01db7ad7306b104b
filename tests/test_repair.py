"""What validate finds, repair sends back, and fetch makes anew: that and nothing else."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import soundfile as sf
from inline_engine import Inline
from tone_site import ALL, CONFIG, OFFSETS, corpus, paired, rows

import cli
from crawler import commands
from crawler.errors import LockedError, SchemaVersionError, UserError
from crawler.ledger import Ledger, State, folder_lock
from crawler.summary import Summary
from dataset.closeup import look_closely
from dataset.fetch import FetchConfig
from dataset.fetch import fetch as fetch_stage
from dataset.index import write_pairs
from dataset.leftovers import clean
from dataset.pairing import pair
from dataset.pairs import Pair
from dataset.repair import repair
from dataset.splits import SplitConfig, split
from dataset.validate import check
from demo.site import Replica, serve

__all__ = ["corpus"]


def fetch(data: Path, config: FetchConfig = CONFIG) -> Summary:
    """The stage in this process."""
    return fetch_stage(data, config, engine=Inline())


@pytest.fixture(scope="module")
def replica(corpus: Path) -> Iterator[Replica]:
    with serve(corpus) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, replica: Replica) -> Path:
    """The original of `fetched`, made once; not to be changed."""
    data = paired(tmp_path_factory.mktemp("built") / "data", replica)
    assert fetch(data).counts == {"ok": 12}
    return data


@pytest.fixture
def fetched(built: Path, tmp_path: Path) -> Path:
    """A data folder with 12 ok pairs over 6 clips."""
    return Path(shutil.copytree(built, tmp_path / "data"))


def clip_of(data: Path, video: str) -> Path:
    audio = [row.audio for row in rows(data) if row.youtube_id == video]
    return min(data / str(one["path"]) for one in audio if one)


def turn(clip: Path) -> None:
    """Other samples, in a file that is just as good and just as long."""
    samples, rate = sf.read(clip, dtype="int16")
    size = clip.stat().st_size
    sf.write(clip, samples[::-1], rate, subtype="PCM_16")
    with clip.open("ab") as body:
        body.write(b"\0" * max(0, size - clip.stat().st_size))


def change(data: Path, **values: Any) -> Pair:
    """Other values in the first row of the index."""
    first, *others = rows(data)
    changed = dataclasses.replace(first, **values)
    write_pairs(data / "pairs.parquet", [changed, *others])
    return changed


def contents(data: Path) -> dict[str, bytes]:
    """The index and the clips."""
    files = [data / "pairs.parquet", *sorted((data / "clips").rglob("*.flac"))]
    return {str(file.relative_to(data)): file.read_bytes() for file in files}


def done(summary: Summary) -> tuple[int, int]:
    return summary.details["fetched"], summary.details["cut"]


HARM: dict[str, Callable[[Path], object]] = {
    "missing_clip": Path.unlink,
    "altered_clip": turn,
    "unreadable_clip": lambda clip: clip.write_bytes(b"<html>gone</html>"),
    "empty": lambda clip: clip.write_bytes(b""),
    "truncated": lambda clip: clip.write_bytes(clip.read_bytes()[:-200]),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_clip_is_cut_again_of_the_source_that_is_kept(
    fetched: Path, replica: Replica, harm: str
) -> None:
    whole = contents(fetched)
    clip = clip_of(fetched, OFFSETS)
    HARM[harm](clip)
    told = repair(fetched)
    reason = harm if harm == "missing_clip" else "altered_clip"
    assert told.counts == {"as they were": 10, f"sent back: {reason}": 2}
    assert (told.work_done, told.details["findings"]) == (2, 0)
    assert not clip.exists()
    waiting = [row for row in rows(fetched) if row.status == "pending"]
    assert len(waiting) == 2
    for row in waiting:
        assert str(row.error_message).startswith(f"sent back: {reason}: ")
        assert (row.audio, row.clip_id, row.error_class) == (None, None, None)
    assert check(fetched).clean
    assert repair(fetched).work_done == 0
    asked = len(replica.requests)
    assert done(fetch(fetched)) == (0, 1)
    assert len(replica.requests) == asked
    assert contents(fetched) == whole


def test_without_its_source_the_recording_is_fetched_once_more(
    fetched: Path, replica: Replica
) -> None:
    whole = contents(fetched)
    clean(fetched, CONFIG)
    assert not list((fetched / "sources").glob("*.ogg"))
    turn(clip_of(fetched, OFFSETS))
    repair(fetched)
    asked = len(replica.requests)
    assert done(fetch(fetched)) == (1, 1)
    assert {one.path for one in replica.requests[asked:]} == {
        f"/watch?v={OFFSETS}", f"/media/{OFFSETS}.ogg",
    }  # fmt: skip
    assert contents(fetched) == whole


def test_a_source_that_is_damaged_too_is_fetched_once_more(fetched: Path, replica: Replica) -> None:
    whole = contents(fetched)
    for source in (fetched / "sources").glob("*.ogg"):
        source.write_bytes(source.read_bytes()[::-1])
    turn(clip_of(fetched, OFFSETS))
    repair(fetched)
    assert done(fetch(fetched)) == (1, 1)
    assert contents(fetched) == whole


def test_what_was_sent_back_waits_with_its_reason_over_pair_and_a_fetch_that_begins_nothing(
    fetched: Path, replica: Replica
) -> None:
    clean(fetched, CONFIG)
    clip = clip_of(fetched, OFFSETS)
    harmed = clip.read_bytes()[::-1]
    clip.write_bytes(harmed)
    repair(fetched)
    clip.write_bytes(harmed)  # somebody puts it back: it is not adopted
    before = rows(fetched)
    pair(fetched, ALL)
    assert rows(fetched) == before
    held = fetch(fetched, dataclasses.replace(CONFIG, limit=0))
    assert held.counts == {"ok": 10, "pending": 2}
    assert held.incomplete
    waiting = [row for row in rows(fetched) if row.status == "pending"]
    assert [row.error_message for row in waiting] == [
        "sent back: altered_clip: its bytes are not those of the index"
    ] * 2
    history = look_closely(fetched, waiting[0]).history
    assert history[-1]["state"] == "pending"
    assert history[-1]["message"] == waiting[0].error_message
    assert fetch(fetched).counts == {"ok": 12}
    assert check(fetched).clean


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"status": "done"}, "status"),
        ({"stage": "nowhere"}, "stage"),
        ({"clip_id": None}, "state"),
        ({"audio": None}, "state"),
        ({"actual_end_s": 99.0}, "bounds"),
        ({"num_samples": 3}, "bounds"),
        ({"sample_rate": 8_000}, "bounds"),
        ({"sha256": "0" * 64}, "altered_clip"),
        ({"pcm_md5": "0" * 32}, "pcm_md5"),
        ({"audio": {"bytes": None, "path": "/etc/passwd"}}, "clip_path"),
        ({"audio": {"bytes": None, "path": "clips/../pairs.parquet"}}, "clip_path"),
        ({"status": "failed", "error_class": "bad luck"}, "error_class"),
        ({"status": "failed"}, "state"),
        ({"status": "filtered"}, "state"),
    ],
)
def test_a_row_out_of_step_with_the_ledger_is_written_anew_from_it(
    fetched: Path, replica: Replica, values: dict[str, Any], kind: str
) -> None:
    whole = contents(fetched)
    changed = change(fetched, **values)
    told = repair(fetched)
    assert told.counts[f"sent back: {kind}"] >= 1
    assert told.details["findings"] == told.details["clips deleted"] == 0
    assert rows(fetched)[0].status == "pending"
    assert rows(fetched)[0].pair_id == changed.pair_id
    assert repair(fetched).work_done == 0
    assert done(fetch(fetched)) == (0, 0)
    assert contents(fetched) == whole


@pytest.mark.parametrize("wrong", [{"num_samples": 3}, {"actual_end_s": 99.0}])
def test_a_clip_of_which_the_ledger_says_what_cannot_be_is_cut_again(
    fetched: Path, replica: Replica, wrong: dict[str, float]
) -> None:
    whole = contents(fetched)
    clip = clip_of(fetched, OFFSETS)
    with Ledger(fetched) as ledger:
        for entry in ledger.entries("cut").values():
            if (fetched / entry.result["file"]) == clip:
                ledger.record("cut", entry.item, State.OK, result={**entry.result, **wrong})
    fetch(fetched)
    assert "bounds" in {found.kind for found in check(fetched).wrong}
    assert repair(fetched).details["clips deleted"] == 1
    assert done(fetch(fetched)) == (0, 1)
    assert contents(fetched) == whole


def test_what_another_command_mends_is_left_and_told(small_corpus: Path) -> None:
    folder = split(small_corpus, SplitConfig(fractions=(0.5, 0.5))).artifact
    (folder / "test.parquet").unlink()
    change(small_corpus, caption=" ", status="ok")
    before = contents(small_corpus)
    told = repair(small_corpus)
    assert told.work_done == 0
    assert [one["kind"] for one in told.details["missing"]] == ["missing_part"]
    assert [one["kind"] for one in told.details["wrong"]] == ["empty_caption"]
    assert contents(small_corpus) == before


def test_a_row_that_the_pair_stage_filtered_is_not_sent_to_be_fetched(fetched: Path) -> None:
    change(fetched, status="filtered", stage="pair", filter_reason=None)
    told = repair(fetched)
    assert told.work_done == 0
    assert [one["kind"] for one in told.details["wrong"]] == ["state"]
    pair(fetched, ALL)
    assert check(fetched).clean


def test_a_kill_between_ledger_and_index_is_healed(
    fetched: Path, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(fetched)
    turn(clip_of(fetched, OFFSETS))
    for name in ("pathlib.Path.unlink", "dataset.repair.write_columns"):
        with monkeypatch.context() as patch:

            def killed(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(name, killed)
            with pytest.raises(KeyboardInterrupt):
                repair(fetched)
    assert repair(fetched).work_done == 2
    assert done(fetch(fetched)) == (0, 1)
    assert contents(fetched) == whole


def test_a_folder_of_another_run_and_an_index_that_cannot_be_read_are_one_line(
    fetched: Path, tmp_path: Path
) -> None:
    with folder_lock(fetched), pytest.raises(LockedError):
        repair(fetched)
    with pytest.raises(UserError, match="no index at"):
        repair(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()
    index = fetched / "pairs.parquet"
    body = index.read_bytes()
    index.write_bytes(body[: len(body) // 2])
    with pytest.raises(UserError, match="damaged or not a parquet file"):
        repair(fetched)
    index.write_bytes(body)
    table = pq.read_table(index)
    pq.write_table(table.replace_schema_metadata({"earscribe_schema_version": "99"}), index)
    with pytest.raises(SchemaVersionError, match="schema version 99"):
        repair(fetched)


def test_no_clip_and_no_ledger_at_all_is_everything_to_be_had_again(
    fetched: Path, replica: Replica
) -> None:
    shutil.rmtree(fetched / "clips")
    (fetched / "ledger.sqlite").unlink()
    assert repair(fetched).counts == {"as they were": 0, "sent back: missing_clip": 12}
    assert fetch(fetched).counts == {"ok": 12}
    assert check(fetched).clean


def test_an_empty_index_has_nothing_to_send_back(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.parquet", [])
    assert repair(tmp_path).counts == {"as they were": 0}


def test_the_command_ends_with_3_for_what_is_left_and_0_when_all_is_sent_back(
    fetched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(*arguments: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as stop:
            cli.app(["validate", "--data", str(fetched), "--json", *arguments])
        return int(stop.value.code or 0), json.loads(capsys.readouterr().out)["details"]

    clip_of(fetched, OFFSETS).unlink()
    change(fetched, status="done")
    code, told = ended()
    assert code == commands.VIOLATIONS
    assert [one["kind"] for one in told["missing"]] == ["missing_clip"]
    assert [one["kind"] for one in told["wrong"]] == ["status"]
    code, told = ended("--repair")
    assert (code, told["findings"], told["next"]) == (commands.DONE, 0, "earscribe fetch")
    change(fetched, level="bar")
    assert ended("--repair")[0] == commands.VIOLATIONS
