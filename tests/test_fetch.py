"""The fetch stage against a loopback server: one fetch a source, clips, states, crashes."""

import dataclasses
import math
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from inline_engine import Inline
from tone_site import (  # noqa: F401 - fixtures
    ALL,
    CONFIG,
    FIRST,
    NAMES,
    OFFSETS,
    PIECES,
    SECOND,
    TEXT,
    WHOLE,
    corpus,
    data,
    leftovers,
    paired,
    part,
    replica,
    rows,
    strongest_hz,
    tone_hz,
    works,
)

import dataset.schedule
import dataset.tasks
from crawler.errors import UserError
from crawler.items import Note, Recording, Work, write_works
from crawler.ledger import LEDGER_NAME, Ledger, State
from crawler.summary import Summary
from dataset.clips import CutConfig
from dataset.closeup import look_closely
from dataset.fetch import FetchConfig, fetch
from dataset.pairing import PairConfig, pair
from dataset.sources import copy_source
from dataset.tasks import fingerprint
from demo.site import Replica


def test_every_pair_gets_its_movement_and_every_source_is_fetched_once(
    data: Path, replica: Replica
) -> None:
    summary = fetch(data, CONFIG)
    assert summary.counts == {"ok": 12}
    assert (summary.details["fetched"], summary.details["cut"]) == (4, 6)
    assert (replica.served("/watch"), replica.served("/media")) == (4, 4)
    for row in rows(data):
        assert row.audio is not None
        assert row.audio["path"] == f"clips/{(row.clip_id or '')[:2]}/{row.clip_id}.flac"
        clip = data / row.audio["path"]
        assert strongest_hz(clip) == pytest.approx(tone_hz(row.movements[0]), abs=2)
        length_s = (row.actual_end_s or 0) - (row.actual_start_s or 0)
        assert row.num_samples == round(length_s * 16_000) == sf.info(clip).frames
        assert length_s == pytest.approx(
            3.0 if row.bounds_source == "description" else 2.0, abs=1.03
        )
    sources = {row.bounds_source for row in rows(data)}
    assert sources == {"page", "file", "description"}
    assert not leftovers(data)


def test_a_second_run_does_nothing(data: Path, replica: Replica) -> None:
    fetch(data, CONFIG)
    before = (data / "pairs.parquet").read_bytes()
    asked = len(replica.requests)
    again = fetch(data, CONFIG)
    assert (again.work_done, again.incomplete, again.counts) == (0, False, {"ok": 12})
    assert len(replica.requests) == asked
    assert (data / "pairs.parquet").read_bytes() == before
    pair(data, ALL)
    assert (data / "pairs.parquet").read_bytes() == before, "pair keeps what was cut"


def test_other_settings_cut_again_but_do_not_fetch_again(data: Path, replica: Replica) -> None:
    fetch(data, CONFIG)
    other = dataclasses.replace(CONFIG, cut=CutConfig(sample_rate=8_000))
    assert fingerprint(other) != fingerprint(CONFIG)
    assert fingerprint(dataclasses.replace(CONFIG, workers=7)) == fingerprint(CONFIG)
    asked = len(replica.requests)
    summary = fetch(data, other)
    assert (summary.details["cut"], len(replica.requests)) == (6, asked)
    assert {row.sample_rate for row in rows(data)} == {8_000}
    back = fetch(data, CONFIG)
    assert back.details["cut"] == 0, "the first clips are still there"
    assert back.work_done == 1, "the index"


def test_a_clip_that_vanished_is_cut_again_from_the_kept_source(
    data: Path, replica: Replica
) -> None:
    fetch(data, CONFIG)
    before, asked = (data / "pairs.parquet").read_bytes(), len(replica.requests)
    gone = next((data / "clips").rglob("*.flac"))
    gone.unlink()
    assert fetch(data, CONFIG).details["cut"] == 1
    assert gone.is_file()
    assert len(replica.requests) == asked
    gone.unlink()
    for source in (data / "sources").iterdir():
        source.unlink()
    summary = fetch(data, CONFIG)
    assert (summary.details["fetched"], summary.details["cut"]) == (1, 1)
    assert (data / "pairs.parquet").read_bytes() == before


def test_a_damaged_clip_is_cut_again(data: Path, replica: Replica) -> None:
    fetch(data, CONFIG)
    asked = len(replica.requests)
    clip = next((data / "clips").rglob("*.flac"))
    body = clip.read_bytes()
    clip.write_bytes(body[:-100])
    assert fetch(data, CONFIG).details["cut"] == 1
    assert clip.read_bytes() == body
    assert len(replica.requests) == asked


@pytest.mark.parametrize("damage", [b"other bytes", b""])
def test_a_damaged_source_is_fetched_again_once_a_cut_is_needed(
    data: Path, replica: Replica, damage: bytes
) -> None:
    fetch(data, CONFIG)
    before, asked = (data / "pairs.parquet").read_bytes(), replica.served("/media")
    for source in (data / "sources").iterdir():
        source.write_bytes(damage)
    assert fetch(data, CONFIG).work_done == 0
    next((data / "clips").rglob("*.flac")).unlink()
    summary = fetch(data, CONFIG)
    assert (summary.details["fetched"], summary.details["cut"]) == (1, 1)
    assert (summary.counts, replica.served("/media")) == ({"ok": 12}, asked + 1)
    assert (data / "pairs.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("result = '{}'", "it lacks .*file"),
        ("result = '{'", "ledger.sqlite is damaged at (source|cut) "),
        ("result = '[]'", "no JSON object"),
        ("state = 'done'", "'done' is not a valid State"),
        ("state = 'failed', error_class = 'bad_luck'", "unknown error class 'bad_luck'"),
    ],
)
def test_a_ledger_that_was_tampered_with_is_one_line(data: Path, change: str, line: str) -> None:
    fetch(data, CONFIG)
    with sqlite3.connect(data / LEDGER_NAME) as db:
        db.execute(f"UPDATE items SET {change}")
    db.close()
    with pytest.raises(UserError, match=line) as told:
        fetch(data, CONFIG)
    assert "\n" not in str(told.value)


def test_sources_need_not_be_kept(data: Path) -> None:
    config = dataclasses.replace(CONFIG, keep_sources=False)
    assert fetch(data, config).counts == {"ok": 12}
    assert not list((data / "sources").iterdir())
    assert fetch(data, config).work_done == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("404", "gone"), ("html", "not_media"), ("500", "server_error"), ("truncate", "network")],
)
def test_a_failed_source_fails_its_pairs_alone_and_is_tried_again_if_that_may_help(
    data: Path, replica: Replica, fault: str, expected: str
) -> None:
    replica.faults[f"/media/{OFFSETS}.ogg"] = fault
    summary = fetch(data, CONFIG)
    assert summary.counts == {f"failed: {expected}": 4, "ok": 8}
    failed = [row for row in rows(data) if row.status == "failed"]
    assert {(row.stage, row.youtube_id) for row in failed} == {("source", OFFSETS)}
    assert all(row.error_message for row in failed)
    with Ledger(data, read_only=True) as ledger:
        (attempt,) = ledger.attempts("source", OFFSETS)
    assert attempt["error_class"] == expected
    assert not leftovers(data)

    asked = replica.served(f"/media/{OFFSETS}")
    replica.faults.clear()
    again = fetch(data, CONFIG)
    transient = expected in ("server_error", "network")
    assert summary.incomplete is transient
    assert again.counts == ({"ok": 12} if transient else summary.counts)
    assert replica.served(f"/media/{OFFSETS}") == asked + transient


def changed(works_before: list[Work], video: str, **change: Any) -> list[Work]:
    """The works with other values in the parts of a video's recording."""
    (work,) = works_before
    recordings = tuple(
        dataclasses.replace(one, parts=tuple(dataclasses.replace(p, **change) for p in one.parts))
        if one.parts[0].youtube_id == video
        else one
        for one in work.recordings
    )
    return [dataclasses.replace(work, recordings=recordings)]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"start_s": 5.0, "end_s": 4.0}, "failed: bad_bounds"),
        ({"start_s": -3.0, "end_s": 4.0}, "failed: bad_bounds"),
        ({"start_s": 1.0, "end_s": 400.0}, "failed: bad_bounds"),
        ({"start_s": 1.0, "end_s": 1.4}, "filtered: too_short"),
    ],
)
def test_bounds_that_cannot_be_cut_are_told(
    tmp_path: Path, replica: Replica, change: dict[str, float], state: str
) -> None:
    write_works(tmp_path / "works.jsonl", changed(works(replica.address), OFFSETS, **change))
    pair(tmp_path, ALL)
    assert fetch(tmp_path, CONFIG).counts == {state: 4, "ok": 8}
    assert fetch(tmp_path, CONFIG).work_done == 0


def test_a_whole_work_without_chapters_has_unknown_bounds(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dataset.tasks.fetch_source

    def silent_page(*arguments: Any) -> Any:
        return dataclasses.replace(real(*arguments), description="Nothing about times.")

    monkeypatch.setattr(dataset.tasks, "fetch_source", silent_page)
    assert fetch(data, CONFIG, engine=Inline()).counts == {"failed: bad_bounds": 4, "ok": 8}
    messages = {row.error_message for row in rows(data) if row.status == "failed"}
    assert all("unknown bounds" in str(message) for message in messages)


def test_a_full_disk_is_a_transient_failure(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **named: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dataset.tasks, "cut", full)
        assert fetch(data, CONFIG, engine=Inline()).counts == {"failed: disk_full": 12}
    with monkeypatch.context() as patch:
        patch.setattr(dataset.schedule, "atomic_path", full)
        assert fetch(data, CONFIG, engine=Inline()).counts == {"failed: disk_full": 12}
    assert not leftovers(data)
    assert fetch(data, CONFIG).counts == {"ok": 12}


def test_what_a_full_disk_keeps_libsndfile_from_writing_is_no_fault_of_the_source(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dataset.tasks.cut

    def refused(*arguments: Any, **named: Any) -> Any:
        raise sf.LibsndfileError(2)

    def short(source: Path, spans: Any, targets: Any, config: CutConfig, **named: Any) -> Any:
        found = real(source, spans, targets, config, **named)
        for target in targets:
            body = target.read_bytes()
            target.write_bytes(body[:18] + bytes(8) + body[26:2000])  # of no known length
        return found

    for broken in (refused, short):
        with monkeypatch.context() as patch:
            patch.setattr(dataset.tasks, "cut", broken)
            assert fetch(data, CONFIG, engine=Inline()).counts == {"failed: disk_full": 12}
        assert not leftovers(data)
    assert fetch(data, CONFIG).counts == {"ok": 12}


@pytest.mark.parametrize("broken", ["refused", "short"])
def test_a_join_that_does_not_fit_on_the_disk_is_tried_again(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    files = [corpus / f"{video}.ogg" for video in PIECES]
    parts = [
        {**dataset.tasks.verified(source, "", CONFIG).result, "file": str(source.path)}
        for source in (copy_source(f"file:{file}", tmp_path / file.stem, CONFIG) for file in files)
    ]

    def join(sources: Any, target: Path, rate: int, channels: int) -> None:
        if broken == "refused":
            raise sf.LibsndfileError(2)
        sf.write(target, np.zeros(rate), rate)

    (tmp_path / "sources").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(dataset.tasks, "join", join)
        (failed,) = dataset.tasks.join_parts(tmp_path, "a b", "a b", parts, CONFIG)
    assert isinstance(failed, dataset.tasks.Failed) and failed.error_class == "disk_full"
    assert not leftovers(tmp_path)
    (whole,) = dataset.tasks.join_parts(tmp_path, "a b", "a b", parts, CONFIG)
    assert isinstance(whole, dataset.tasks.Finished)


def test_what_a_killed_run_left_of_the_index_is_swept(data: Path) -> None:
    orphan = data / ".tmp-1234.parquet"
    orphan.write_bytes(b"half an index")
    assert fetch(data, CONFIG).counts == {"ok": 12}
    assert not orphan.exists()


def test_a_signal_finishes_what_is_in_hand_and_the_next_run_the_rest(
    data: Path, replica: Replica
) -> None:
    def ask_to_stop(done: int, total: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    summary = fetch(data, CONFIG, ask_to_stop)
    assert signal.getsignal(signal.SIGTERM) is before
    assert summary.incomplete
    assert set(summary.counts) == {"ok", "pending"}
    assert summary.details["fetched"] <= 2, "the first, and the one in hand"
    assert fetch(data, CONFIG).counts == {"ok": 12}
    assert replica.served("/media") == 4


def killed_run(data: Path, at: int) -> bool:
    """Run fetch in a child that is killed before its `at`-th commit; whether it was."""
    child = os.fork()
    if child == 0:
        real, count = Ledger.record, 0

        def record(self: Ledger, *arguments: Any, **named: Any) -> None:
            nonlocal count
            count += 1
            if count == at:
                with (data / "killed.txt").open("a") as killed:
                    killed.write(f"{arguments[0]} {arguments[2]}\n")
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, *arguments, **named)

        Ledger.record = record  # type: ignore[method-assign]
        try:
            fetch(data, CONFIG, engine=Inline())
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


def test_kills_at_every_commit_lose_nothing_that_was_finished(
    data: Path, tmp_path: Path, replica: Replica
) -> None:
    undisturbed = paired(tmp_path / "undisturbed", replica)
    fetch(undisturbed, CONFIG)
    asked = replica.served("/media")
    at = 1
    while killed_run(data, at):
        at += 1
        assert at < 40, "no progress"
    assert (data / "pairs.parquet").read_bytes() == (undisturbed / "pairs.parquet").read_bytes()
    assert not leftovers(data)
    lost = (data / "killed.txt").read_text().splitlines().count("source pending")
    assert replica.served("/media") - asked == 4 + lost, "only unfinished fetches are repeated"
    with Ledger(data, read_only=True) as ledger:
        for stage in ("source", "cut"):
            assert {entry.state for entry in ledger.entries(stage).values()} == {State.OK}


@pytest.mark.parametrize(("at", "fetched", "cut"), [(2, 3, 6), (4, 3, 5)])
def test_a_crash_between_rename_and_commit_is_healed_by_adopting_the_file(
    data: Path, replica: Replica, at: int, fetched: int, cut: int
) -> None:
    """The first commits are: source pending, source ok, clip pending, clip ok."""
    assert killed_run(data, at)
    summary = fetch(data, CONFIG)
    assert summary.details["adopted"] == 1
    assert summary.details["fetched"] == fetched
    assert replica.served("/media") == 4
    assert summary.counts == {"ok": 12}
    assert summary.details["cut"] == cut


def test_a_crash_before_the_rename_adopts_nothing(data: Path) -> None:
    assert killed_run(data, 2)
    for source in (data / "sources").iterdir():
        source.write_bytes(b"other bytes")
    summary = fetch(data, CONFIG)
    assert (summary.details["adopted"], summary.details["fetched"]) == (0, 4)
    assert summary.counts == {"ok": 12}


def test_no_index_and_wrong_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `earscribe pair` first"):
        fetch(tmp_path, CONFIG)
    with pytest.raises(UserError, match=r"fetch.workers 0 is not above 0"):
        FetchConfig(workers=0)
    with pytest.raises(UserError, match=r"min_clip_s 9 is not in 0..max_clip_s"):
        FetchConfig(min_clip_s=9, max_clip_s=5)
    for setting in ({"address": "auto"}, {"engine": "ray", "address": ""}):
        with pytest.raises(UserError, match="give engine ray and HOST:PORT or auto, or no address"):
            FetchConfig(**setting)
    for setting in ({"timeout_s": math.nan}, {"max_clip_s": math.inf}, {"backoff_s": math.nan}):
        with pytest.raises(UserError, match="not a finite number"):
            FetchConfig(**setting)


def test_an_empty_index_is_done_at_once(tmp_path: Path) -> None:
    write_works(tmp_path / "works.jsonl", [])
    pair(tmp_path, ALL)
    summary: Summary = fetch(tmp_path, CONFIG)
    assert (summary.total, summary.work_done, summary.incomplete) == (0, 0, False)


@pytest.mark.parametrize(
    ("text", "audio", "free"), [("CC0 1.0", "CC0 1.0", True), ("CC0 1.0", None, False),
                                ("CC0 1.0", "CC BY-NC 4.0", False), (None, "CC0 1.0", False)]
)  # fmt: skip
def test_only_free_text_with_free_audio_may_be_passed_on(
    tmp_path: Path, replica: Replica, text: str | None, audio: str | None, free: bool
) -> None:
    notes = (Note(source="Ours", text=TEXT, credit=text),)
    one = [dataclasses.replace(work, notes=notes) for work in works(replica.address)]
    write_works(tmp_path / "works.jsonl", one)
    pair(tmp_path, ALL)
    fetch(tmp_path, dataclasses.replace(CONFIG, audio_rights=audio))
    found = [row for row in rows(tmp_path) if row.status == "ok"]
    assert {(row.audio_rights, row.redistributable) for row in found} == {
        (audio or "unknown", free)
    }
    assert fetch(tmp_path, CONFIG).work_done == 0  # what was known when it was fetched stays
    assert pair(tmp_path, ALL).work_done == 0


def test_what_a_person_corrects_is_cut_anew_and_nothing_else(data: Path, replica: Replica) -> None:
    fetch(data, CONFIG)
    before = {row.pair_id: row for row in rows(data)}
    ours = {(r.youtube_id, r.movements): r for r in before.values() if r.note_source == "Ours"}
    cut, moved = ours[OFFSETS, (2,)], ours[FIRST, (1,)]
    (data / "overrides.csv").write_text(
        "work,movement,column,value,why\n"
        f"{cut.pair_id},,start_s,3.5,it begins late\n{cut.pair_id},,end_s,4.5,and ends early\n"
        f"{moved.pair_id},,source_url,{replica.address}/watch?v={WHOLE},a better one\n"
    )
    pair(data, ALL)
    summary = fetch(data, CONFIG)
    assert (summary.counts, summary.details["cut"]) == ({"ok": 12}, 2)
    after = {row.pair_id: row for row in rows(data)}
    now, there = after.pop(cut.pair_id), after.pop(moved.pair_id)
    assert (now.actual_start_s, now.actual_end_s, now.bounds_source) == (3.5, 4.5, "override")
    assert there.bounds_source == "description"
    assert after == {key: before[key] for key in after}
    history = look_closely(data, now).history
    assert [(row["stage"], row["state"]) for row in history] == [
        ("source", "pending"), ("source", "ok"), ("cut", "pending"), ("cut", "ok"),
    ]  # fmt: skip
    bytes_before = (data / "pairs.parquet").read_bytes()
    pair(data, ALL)
    assert (data / "pairs.parquet").read_bytes() == bytes_before


def test_a_text_given_to_the_whole_work_gets_all_of_it(data: Path) -> None:
    first = next(row for row in rows(data) if row.movements == (1,))
    (data / "overrides.csv").write_text(
        f"work,movement,column,value,why\n{first.pair_id},,movements,none,it tells of all\n"
    )
    pair(data, ALL)
    fetch(data, CONFIG)
    whole = {row.youtube_id: row for row in rows(data) if row.movements == ()}
    assert whole[WHOLE].status == "ok" and whole[WHOLE].bounds_source == "file"
    assert whole[OFFSETS].status == "ok" and whole[OFFSETS].bounds_source == "page"
    assert whole[FIRST].filter_reason == "movements_in_two_files"


def test_what_was_refused_is_fetched_once_it_is_allowed(data: Path) -> None:
    closed = dataclasses.replace(CONFIG, allow_loopback=False)
    first = fetch(data, closed)
    assert set(first.counts) == {"failed: refused"}
    assert not first.incomplete
    assert fetch(data, closed).work_done == 0
    assert set(fetch(data, CONFIG).counts) == {"ok"}


def in_pieces(address: str, videos: tuple[str, ...] = PIECES) -> list[Work]:
    """A work whose first movement lies in two files; the second sounds higher."""
    parts = [
        dataclasses.replace(part(address, 1, video, None, None), name=f"Allegro (part {n} of 2)")
        for n, video in enumerate(videos, start=1)
    ]
    whole = Recording(recording_id=parts[0].video_id, parts=tuple(reversed(parts)))
    return [dataclasses.replace(works(address)[0], recordings=(whole,))]


def paired_pieces(folder: Path, works: list[Work]) -> Path:
    write_works(folder / "works.jsonl", works)
    pair(folder, PairConfig())
    return folder


def test_a_movement_in_two_files_is_joined_in_the_order_of_its_parts(
    tmp_path: Path, replica: Replica
) -> None:
    data = paired_pieces(tmp_path, in_pieces(replica.address))
    summary = fetch(data, CONFIG)
    assert summary.counts == {"filtered: movement_not_recorded": 2, "ok": 2}
    done = [summary.details[name] for name in ("fetched", "joined", "cut")]
    assert done == [2, 1, 1]
    assert replica.served("/media") == 2
    [clip] = (data / "clips").rglob("*.flac")
    samples, rate = sf.read(clip)
    assert len(samples) / rate == pytest.approx(4.0, abs=0.05)
    halves = np.array_split(samples, 2)
    found = [float(np.argmax(np.abs(np.fft.rfft(half))) * rate / len(half)) for half in halves]
    assert found == pytest.approx([tone_hz(1), tone_hz(2)], abs=2)
    assert not leftovers(data)
    assert len(list((data / "sources").iterdir())) == 3, "the parts may serve others"
    asked = len(replica.requests)
    assert fetch(data, CONFIG).work_done == 0
    assert pair(data, PairConfig()).work_done == 0
    assert len(replica.requests) == asked


def test_a_movement_lacks_its_clip_when_one_of_its_files_is_gone(
    tmp_path: Path, replica: Replica
) -> None:
    data = paired_pieces(tmp_path, in_pieces(replica.address, (PIECES[0], "notThere001")))
    assert fetch(data, CONFIG).counts == {"failed: gone": 2, "filtered: movement_not_recorded": 2}
    assert not leftovers(data)


def test_kills_while_pieces_are_joined_lose_nothing(tmp_path: Path, replica: Replica) -> None:
    data = paired_pieces(tmp_path, in_pieces(replica.address))
    at = 1
    while killed_run(data, at):
        at += 1
    assert at > 1
    assert fetch(data, CONFIG).counts["ok"] == 2
    assert not leftovers(data)
