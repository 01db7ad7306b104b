"""Evaluation against scores computed from the captions it wrote, and against its controls."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from small_model import SMALL

from crawler.errors import LockedError, UserError
from crawler.files import sha256_file
from crawler.ledger import folder_lock
from dataset.index import write_pairs
from dataset.pairs import Pair
from dataset.parts import load_split
from dataset.splits import SplitConfig, split
from model.config import GenerateConfig
from model.evaluate import ScoredClip, evaluate, score_report
from model.runs import find_checkpoint
from model.train import train

GREEDY = GenerateConfig(method="greedy", max_tokens=12)


@pytest.fixture(scope="module")
def trained(built_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a run of a few updates and eight clips to score."""
    data = Path(shutil.copytree(built_corpus, tmp_path_factory.mktemp("evaluate") / "corpus"))
    split(data, SplitConfig(fractions=(0.4, 0.2, 0.4)))
    train(data, dataclasses.replace(SMALL, steps=3))
    return data


@pytest.fixture
def data(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "corpus"))


def scored_clip(reference: str) -> ScoredClip:
    return ScoredClip(clip_id="c", path=Path("c"), movements=(1,), references=(reference,))


def read(run: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = (run / "captions.jsonl").read_text().splitlines()
    return json.loads((run / "scores.json").read_text()), [json.loads(line) for line in lines]


def test_scores_are_those_of_the_captions_written(data: Path) -> None:
    run = data / "runs/small"
    summary = evaluate(data, run, generate=GREEDY)
    report, captions = read(run)
    pairs = load_split(data, "default", "test")
    assert {line["clip_id"] for line in captions} == {pair.clip_id for pair in pairs}
    for line in captions:
        texts = {pair.caption for pair in pairs if pair.clip_id == line["clip_id"]}
        assert set(line["references"]) == texts
    longest = max(len(line["references"]) for line in captions)
    streams = [
        [dict(enumerate(line["references"])).get(place) for line in captions]
        for place in range(longest)
    ]
    bleu = sacrebleu.corpus_bleu([line["hypothesis"] for line in captions], streams).score
    assert report["scores"]["captioner"]["bleu4"] == pytest.approx(bleu)
    assert summary.total == summary.counts["ok"] == len(captions) == report["clips"]
    assert report["implementations"]["bleu4"]["implementation"].startswith("sacrebleu BLEU-4")
    assert set(report["implementations"]) == set(report["scores"]["captioner"])
    assert list(summary.details["scores on test"][0])[1:] == list(report["scores"])


def test_a_second_evaluation_does_nothing_and_changed_settings_do(data: Path) -> None:
    run = data / "runs/small"
    first = evaluate(data, run, generate=GREEDY)
    body = (run / "scores.json").read_bytes()
    second = evaluate(data, run, generate=GREEDY)
    assert (first.work_done, second.work_done) == (first.total, 0)
    assert second.details == first.details
    assert (run / "scores.json").read_bytes() == body
    shorter = evaluate(data, run, generate=dataclasses.replace(GREEDY, max_tokens=5))
    assert shorter.work_done == first.total
    evaluate(data, run, generate=GREEDY)
    assert (run / "scores.json").read_bytes() == body


def test_another_part_has_its_own_files(data: Path) -> None:
    run = data / "runs/small"
    summary = evaluate(data, run, part="validation", generate=GREEDY)
    assert summary.artifact == run / "scores-validation.json"
    assert (run / "captions-validation.jsonl").is_file()
    assert not (run / "scores.json").exists()


def test_failed_clips_are_listed_and_not_scored(data: Path) -> None:
    run = data / "runs/small"
    clips = sorted({(p.clip_id, p.audio["path"]) for p in load_split(data, "default", "test")})
    body = (data / clips[0][1]).read_bytes()
    (data / clips[0][1]).unlink()
    (data / clips[1][1]).write_text("<html>")
    summary = evaluate(data, run, generate=GREEDY)
    report, captions = read(run)
    assert summary.counts == {"ok": len(clips) - 2, "failed: unreadable": 2}
    assert set(report["failed"]) == {clips[0][0], clips[1][0]}
    assert len(captions) == report["clips"] == len(clips) - 2
    (data / clips[0][1]).write_bytes(body)  # a clip that is back is heard without being asked
    assert evaluate(data, run, generate=GREEDY).counts["ok"] == len(clips) - 1


def test_no_clip_at_all_is_an_error(data: Path) -> None:
    shutil.rmtree(data / "clips")
    with pytest.raises(
        UserError,
        match=r"none of the .* clips of part test could be read, the first because: no file [^{]*$",
    ):
        evaluate(data, data / "runs/small", generate=GREEDY)


def test_a_run_that_may_know_the_clips_is_not_scored(data: Path) -> None:
    run = data / "runs/small"
    split(data, SplitConfig(fractions=(0.4, 0.2, 0.4), seed=3, group="work"))
    with pytest.raises(UserError, match=r"run .*small was trained on another content of split"):
        evaluate(data, run, generate=GREEDY)
    split(data, SplitConfig(fractions=(0.4, 0.2, 0.4)))
    assert evaluate(data, run, generate=GREEDY).work_done
    for body in (None, "", "[]", '"x"'):
        (run / "split.json").unlink()
        if body is not None:
            (run / "split.json").write_text(body)
        with pytest.raises(UserError, match=r"was trained on"):
            evaluate(data, run, generate=GREEDY)
        (run / "split.json").touch()


def replace_test(folder: Path, pairs: list[Pair]) -> None:
    """Another test part, as if the split had been made so."""
    write_pairs(folder / "test.parquet", pairs)
    record = json.loads((folder / "split.json").read_text())
    record["parts"]["test"]["sha256"] = sha256_file(folder / "test.parquet")
    (folder / "split.json").write_text(json.dumps(record))


def test_a_test_clip_of_the_training_part_is_refused(data: Path) -> None:
    folder = data / "splits/default"
    training = load_split(data, "default", "train")
    replace_test(folder, [*load_split(data, "default", "test"), training[0]])
    with pytest.raises(UserError, match=rf"1 clips .* {training[0].clip_id}, are in the training"):
        evaluate(data, data / "runs/small", generate=GREEDY)
    replace_test(folder, [])
    with pytest.raises(UserError, match="part test of split 'default' is empty"):
        evaluate(data, data / "runs/small", generate=GREEDY)


def test_damaged_scores_are_made_anew(data: Path) -> None:
    run = data / "runs/small"
    evaluate(data, run, generate=GREEDY)
    body = (run / "scores.json").read_bytes()
    report = json.loads(body)
    for damage in (
        b"", b"[]", b"\xff", json.dumps({**report, "scores": None}).encode(),
        json.dumps({"fingerprint": report["fingerprint"]}).encode(),
    ):  # fmt: skip
        (run / "scores.json").write_bytes(damage)
        assert evaluate(data, run, generate=GREEDY).work_done
        assert (run / "scores.json").read_bytes() == body


def test_the_checkpoint_scored_is_the_one_asked_for(data: Path) -> None:
    train(data, dataclasses.replace(SMALL, steps=4, validate_every=3), run="four")
    run = data / "runs/four"
    steps = {
        which: evaluate(data, run, checkpoint=which, generate=GREEDY).details["checkpoint_step"]
        for which in ("best", "last")
    }
    assert steps["last"] == 4
    assert steps["best"] == find_checkpoint(run, "best").step


def test_missing_run_and_split_are_told(data: Path) -> None:
    with pytest.raises(UserError, match=r"no run .*none: runs in .* are small"):
        evaluate(data, data / "runs/none")
    assert not (data / "runs/none").exists()
    with folder_lock(data / "runs/small"), pytest.raises(LockedError, match="with --run"):
        evaluate(data, data / "runs/small")
    shutil.rmtree(data / "splits")
    with pytest.raises(UserError, match="earscribe split"):
        evaluate(data, data / "runs/small")


def test_the_swap_shows_who_listens(trained: Path) -> None:
    """Captions that are their own clip's text lose all by a swap; one constant loses nothing."""
    training = load_split(trained, "default", "train")
    clips = [
        scored_clip(f"{word} {word} {word} {word}") for word in ("alpha", "beta", "gamma", "delta")
    ]
    listening = score_report(clips, [clip.references[0] for clip in clips], training)
    assert listening["scores"]["captioner"]["bleu4"] == pytest.approx(100)
    assert listening["scores"]["audio swapped"]["bleu1"] == pytest.approx(0)
    assert listening["audio_swap_drop"]["bleu4"] == pytest.approx(100)
    deaf = score_report(clips, ["alpha beta gamma delta"] * 4, training)
    assert deaf["audio_swap_drop"] == dict.fromkeys(deaf["audio_swap_drop"], pytest.approx(0))


def test_one_clip_alone_has_no_swap(trained: Path) -> None:
    training = load_split(trained, "default", "train")
    report = score_report([scored_clip("a b c d")], ["a b c d"], training)
    assert report["audio_swap_drop"] is None
    assert "audio swapped" not in report["scores"]
