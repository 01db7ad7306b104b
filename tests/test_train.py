"""Training: exact resume, honest refusals, and losses that move what they should."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_model import SMALL

from crawler.errors import LockedError, UserError
from crawler.ledger import folder_lock
from dataset.parts import load_split
from dataset.splits import SplitConfig, split
from model.checkpoint import load_network
from model.config import LossConfig, TrainConfig
from model.runs import find_checkpoint, finished, list_checkpoints, split_hashes
from model.tokenizer import Tokenizer
from model.train import learning_rate, train


@pytest.fixture
def data(small_corpus: Path) -> Path:
    """A data folder with its default split."""
    split(small_corpus, SplitConfig())
    return small_corpus


ROOT = Path(__file__).parent.parent


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill_after(steps: int):
    def progress(done: int, total: int) -> None:
        if done == steps:
            raise Killed

    return progress


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_network(find_checkpoint(run, "last"))[2].state_dict()


@pytest.mark.parametrize(
    "loss",
    [SMALL.loss, LossConfig(topology_form="batch", divergence="kl", topology=1.0)],
    ids=["queue", "batch"],
)
def test_killed_and_resumed_is_bit_identical_to_straight_through(
    data: Path, loss: LossConfig
) -> None:
    config = dataclasses.replace(SMALL, loss=loss)
    straight = train(data, config, run="straight")
    with pytest.raises(Killed):
        train(data, config, run="killed", progress=kill_after(3))  # after the update, kept at 3
    with pytest.raises(Killed):
        train(data, config, run="killed", progress=kill_after(5))  # one update after the last kept
    resumed = train(data, config, run="killed")
    assert (straight.work_done, resumed.work_done) == (6, 2)
    runs = data / "runs"
    first, second = weights(runs / "straight"), weights(runs / "killed")
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [(runs / name / "log.jsonl").read_bytes() for name in ("straight", "killed")]
    assert logs[0] == logs[1]
    hashes = [dict(find_checkpoint(runs / name, "last").files) for name in ("straight", "killed")]
    assert hashes[0] == hashes[1]  # optimizer, momentum encoder and queue as well


KILL = """
import os, signal, sys
from pathlib import Path
from small_model import SMALL
from model.train import train
train(Path(sys.argv[1]), SMALL, run="killed",
      progress=lambda done, total: done == 5 and os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.slow
def test_sigkill_loses_no_checkpoint_and_changes_no_byte(data: Path) -> None:
    here = Path(__file__).parent
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}
    killed = subprocess.run([sys.executable, "-c", KILL, data], env=paths, timeout=250)
    assert killed.returncode == -signal.SIGKILL
    run = data / "runs/killed"
    assert [one.step for one in list_checkpoints(run / "checkpoints")][-1] == 4
    (run / "checkpoints/.tmp-half").mkdir()
    assert train(data, SMALL, run="killed").work_done == 2
    straight = train(data, SMALL, run="straight").artifact
    assert (run / "log.jsonl").read_bytes() == (straight / "log.jsonl").read_bytes()
    last = find_checkpoint(run, "last")
    assert last.files == find_checkpoint(straight, "last").files
    assert not list(run.rglob(".tmp-*"))


def test_a_finished_run_does_nothing_again(data: Path) -> None:
    first = train(data, SMALL)
    assert first.counts == {"ok": 6}
    assert first.artifact == data / "runs/small"
    before = {path: path.stat().st_mtime_ns for path in first.artifact.rglob("*") if path.is_file()}
    again = train(data, dataclasses.replace(SMALL, threads=2))
    assert again.work_done == 0
    assert again.details == first.details
    before.pop(data / "runs/small/.lock")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_finished_run_is_known_without_torch(data: Path) -> None:
    assert finished(data, SMALL) is None
    made = train(data, SMALL)
    assert finished(data, SMALL) == dataclasses.replace(made, work_done=0)
    assert finished(data, SMALL, "other") is None
    script = "import sys, model.runs, model.evaluate; print(sorted(sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert "'model.evaluate'" in loaded
    assert not [name for name in ("torch", "transformers", "nltk") if f"'{name}'" in loaded]


def test_the_log_holds_every_loss_and_the_summary_the_best(data: Path) -> None:
    summary = train(data, SMALL)
    lines = [json.loads(line) for line in (summary.artifact / "log.jsonl").open()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    for line in steps:
        expected = sum(
            getattr(SMALL.loss, name) * line[name]
            for name in ("caption", "text_reconstruction", "music_reconstruction", "alignment",
                         "topology")
        )  # fmt: skip
        assert line["loss"] == pytest.approx(expected, rel=1e-5)
    validated = {
        line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line
    }
    assert list(validated) == [3, 6]
    best = min(validated, key=validated.__getitem__)
    assert summary.details["best_step"] == best
    assert summary.details["best_validation_loss"] == validated[best]
    assert list((summary.artifact / "tensorboard").glob("events*"))


def test_training_learns(data: Path) -> None:
    config = dataclasses.replace(SMALL, steps=40, checkpoint_every=40, validate_every=40)
    run = train(data, config).artifact
    caption = [
        json.loads(line)["caption"] for line in (run / "log.jsonl").open() if "caption" in line
    ]
    assert sum(caption[-5:]) < 0.8 * sum(caption[:5])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 1e-2}, r"train\.learning_rate 0\.003, not 0\.01"),
        ({"loss": LossConfig()}, r"train\.loss\.alignment 0\.1, not 0\.0"),
    ],
)
def test_other_settings_on_a_begun_run_are_refused(
    data: Path, change: dict[str, object], named: str
) -> None:
    with pytest.raises(Killed):
        train(data, SMALL, progress=kill_after(2))
    with pytest.raises(UserError, match=named):
        train(data, dataclasses.replace(SMALL, **change))  # type: ignore[arg-type]


def test_another_content_of_the_split_is_refused(data: Path) -> None:
    train(data, dataclasses.replace(SMALL, steps=1))
    split(data, SplitConfig(seed=1, group="work"))
    with pytest.raises(UserError, match="another content of split default"):
        train(data, dataclasses.replace(SMALL, steps=1))


def test_a_run_goes_on_from_its_newest_sound_checkpoint(data: Path) -> None:
    straight = train(data, SMALL, run="straight").artifact
    run = train(data, SMALL).artifact
    newest = run / "checkpoints/step-000006/trainer.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    (run / "log.jsonl").open("a").write("[]\n{\n\xff\n3")
    assert finished(data, SMALL) is None
    again = train(data, SMALL)
    assert again.counts == {"ok": 6}
    assert 0 < again.work_done < 6
    assert find_checkpoint(run, "last").files == find_checkpoint(straight, "last").files
    assert (run / "log.jsonl").read_bytes() == (straight / "log.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["config.json", "split.json"])
@pytest.mark.parametrize("body", ["", "[]", "{", '{"train": 1}'])
def test_damaged_files_of_a_run_are_told_in_one_line(data: Path, name: str, body: str) -> None:
    run = train(data, dataclasses.replace(SMALL, steps=1)).artifact
    (run / name).write_text(body)
    with pytest.raises(UserError) as raised:
        train(data, dataclasses.replace(SMALL, steps=1))
    assert "\n" not in str(raised.value)


def test_without_config_json_the_checkpoint_says_what_was_begun(data: Path) -> None:
    run = train(data, dataclasses.replace(SMALL, steps=2)).artifact
    (run / "config.json").unlink()
    with pytest.raises(UserError, match=r"begun with train\.steps 2, not 6"):
        train(data, SMALL)
    assert train(data, dataclasses.replace(SMALL, steps=2)).work_done == 0


def test_a_split_that_cannot_train_is_refused_before_any_work(data: Path) -> None:
    split(data, SplitConfig(name="two", fractions=(0.7, 0.3)))
    with pytest.raises(UserError, match=r"no part 'validation': make a split with three fractions"):
        train(data, dataclasses.replace(SMALL, split="two"))
    record = data / "splits/default/split.json"
    about = json.loads(record.read_text())
    about["parts"]["validation"]["rows"] = 0
    record.write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"part validation of split 'default' is empty"):
        train(data, SMALL)
    assert not (data / "runs").exists()


def test_a_step_that_is_not_finite_stops_and_is_not_kept(data: Path) -> None:
    config = dataclasses.replace(SMALL, learning_rate=1e30, warmup_steps=0, clip_norm=1e30)
    with pytest.raises(UserError, match=r"update \d is not finite \(caption .*lower train"):
        train(data, config)
    for checkpoint in list_checkpoints(data / "runs/small/checkpoints"):
        state = load_network(checkpoint)[2].state_dict()
        assert all(torch.isfinite(value).all() for value in state.values())


def test_missing_split_bad_name_and_second_trainer_are_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"no split 'none' .* default"):
        train(data, dataclasses.replace(SMALL, split="none"))
    with pytest.raises(UserError, match=r"'\.\./x' is not allowed"):
        train(data, SMALL, run="../x")
    with (
        folder_lock(data / "runs/small"),
        pytest.raises(LockedError, match=r"runs/small: .* with --run"),
    ):
        train(data, SMALL)


def test_sigterm_keeps_the_update_in_hand_and_the_run_goes_on(data: Path) -> None:
    def terminate(done: int, total: int) -> None:
        if done == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = train(data, SMALL, progress=terminate)
    assert stopped.incomplete
    assert stopped.counts == {"ok": 2, "pending": 4}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    done = train(data, SMALL)
    assert (done.work_done, done.incomplete) == (4, False)


def test_only_training_captions_teach_the_tokenizer(data: Path) -> None:
    config = dataclasses.replace(
        SMALL, steps=1, model=dataclasses.replace(SMALL.model, vocab_size=400)
    )
    train(data, config)

    expected = data / "expected.json"
    captions = [pair.caption for pair in load_split(data, "default", "train")]
    Tokenizer.train(captions, 400).save(expected)
    assert (data / "runs/small/tokenizer.json").read_bytes() == expected.read_bytes()


def test_folds_are_parts_to_learn_from(data: Path) -> None:
    split(data, SplitConfig(name="four", folds=4, group="recording"))
    one, other = (split_hashes(data, f"four:{fold}") for fold in (0, 1))
    assert one["name"] == "four:0"
    assert len({one["train_sha256"], other["train_sha256"], one["validation_sha256"]}) == 3
    with pytest.raises(UserError, match="'four' has no part 'train'"):
        split_hashes(data, "four")


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    assert [learning_rate(config, step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert learning_rate(config, 10) == pytest.approx(1.0)
    assert learning_rate(config, 60) == pytest.approx(0.5)
    assert 0 < learning_rate(config, 109) < 0.001
