"""Checkpoints: exact, whole, pruned, and never unpickled."""

import dataclasses
import errno
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from crawler.errors import SchemaVersionError, UserError
from crawler.files import sha256_file, sweep_temporary
from model import checkpoint as checkpoint_module
from model.checkpoint import (
    load_network,
    load_trainer,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from model.config import PRESETS, TrainConfig
from model.network import Captioner
from model.runs import (
    Checkpoint,
    config_to_json,
    find_checkpoint,
    list_checkpoints,
    read_config,
    sweep_checkpoints,
)
from model.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["The cello sings.", "The viola answers."], 300)
TINY = PRESETS["tiny"]


def save(
    run: Path, step: int, loss: float | None = None, network: nn.Module | None = None
) -> Checkpoint:
    return save_checkpoint(
        run / "checkpoints",
        step=step,
        config=TINY,
        tokenizer=TOKENIZER,
        network=network or nn.Linear(2, 3),
        trainer={"queue": torch.arange(step)},
        validation_loss=loss,
        best_loss=loss,
    )


def test_a_checkpoint_alone_rebuilds_the_network(tmp_path: Path) -> None:
    network = Captioner(TINY.model, TINY.features)
    checkpoint = save(tmp_path, 3, network=network)
    config, tokenizer, rebuilt = load_network(checkpoint)
    assert config == TINY
    assert tokenizer.encode("The cello", 20) == TOKENIZER.encode("The cello", 20)
    assert not rebuilt.training
    for name, value in network.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[name], value), name
    assert load_trainer(checkpoint)["queue"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("config", [*PRESETS.values(), TrainConfig(features=TINY.features)])
def test_settings_survive_json(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(config)))
    assert read_config(tmp_path / "config.json") == config


def test_an_optimizer_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    inputs = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))

    def steps(network: nn.Module, optimizer: torch.optim.Optimizer, some: torch.Tensor) -> None:
        for batch in some:
            optimizer.zero_grad()
            network(batch).pow(2).sum().backward()
            optimizer.step()

    straight = nn.Linear(2, 3)
    resumed = nn.Linear(2, 3)
    resumed.load_state_dict(straight.state_dict())
    steps(straight, torch.optim.AdamW(straight.parameters(), lr=0.1), inputs)
    first = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    steps(resumed, first, inputs[:3])
    second = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    restore_optimizer(second, resumed, optimizer_tensors(first, resumed))
    steps(resumed, second, inputs[3:])
    assert torch.equal(straight.weight, resumed.weight)


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, loss in ((10, 3.0), (20, 1.0), (30, None), (40, 2.0), (50, 1.0), (60, 1.5)):
        save(tmp_path, step, loss)
    kept = [one.step for one in list_checkpoints(tmp_path / "checkpoints")]
    assert kept == [20, 50, 60]
    assert find_checkpoint(tmp_path, "best").step == 20  # of equals the earliest
    assert find_checkpoint(tmp_path, "last").step == 60


def test_a_bad_newest_checkpoint_gives_way_to_an_older_whole_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def flip(path: Path) -> None:
        body = path.read_bytes()
        path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))

    damages: list[Callable[[Path], object]] = [
        lambda folder: (folder / "checkpoint.json").write_text('{"earscribe_checkpoint": 1, "st'),
        lambda folder: (folder / "checkpoint.json").write_text("[]"),
        lambda folder: (folder / "checkpoint.json").unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "trainer.safetensors").write_bytes(b"half"),
        lambda folder: (folder / "pytorch_model.bin").touch(),
        lambda folder: (folder / "nested").mkdir(),
        lambda folder: flip(folder / "model.safetensors"),
        lambda folder: flip(folder / "tokenizer.json"),
    ]
    for change in (
        {"step": "30"}, {"step": None}, {"step": 29}, {"files": []}, {"files": {}},
        {"validation_loss": "low"}, {"best_loss": []},
    ):  # fmt: skip
        damages.append(
            lambda folder, change=change: (folder / "checkpoint.json").write_text(
                json.dumps({**json.loads((folder / "checkpoint.json").read_text()), **change})
            )
        )
    for number, damage in enumerate(damages):
        run = tmp_path / str(number)
        save(run, 10, 1.0)
        save(run, 20, 2.0)
        damage(save(run, 30, 1.5).folder)
        caplog.clear()
        assert find_checkpoint(run, "last").step == 20, number
        assert find_checkpoint(run, "best").step == 10, number
        assert "skipped" in caplog.text
        assert "step-000030" in caplog.text
    flip(run / "checkpoints/step-000010/model.safetensors")
    assert find_checkpoint(run, "best").step == 20
    flip(run / "checkpoints/step-000020/model.safetensors")
    with pytest.raises(UserError, match="step-000030 is no whole checkpoint"):
        find_checkpoint(run, "last")


def test_strays_among_the_checkpoints_are_in_nobodys_way(tmp_path: Path) -> None:
    save(tmp_path, 10, 1.0)
    folder = tmp_path / "checkpoints"
    (folder / "notes.txt").write_text("mine")
    (folder / "step-abc").mkdir()
    (folder / "step-000020").write_text("no folder")
    (folder / ".tmp-file").touch()
    sweep_temporary(tmp_path)
    sweep_checkpoints(folder)
    assert find_checkpoint(tmp_path, "last").step == 10
    assert save(tmp_path, 20).step == 20
    assert save(tmp_path, 20).step == 20  # the same name again
    assert (folder / "notes.txt").exists()


def test_a_full_disk_is_told_and_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10, 1.0)

    def full(*given: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    def full_disk(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name, failure in (("save_file", full), ("sha256_file", full_disk)):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_module, name, failure)
            with pytest.raises(UserError, match=r"cannot write .*000020 .*No space.*make room"):
                save(tmp_path, 20)
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000010"]


def test_half_written_folders_are_no_checkpoints_and_are_swept(tmp_path: Path) -> None:
    save(tmp_path, 10, 1.0)
    save(tmp_path, 20)
    half = tmp_path / "checkpoints/.tmp-abc"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert [one.step for one in list_checkpoints(tmp_path / "checkpoints")] == [10, 20]
    sweep_checkpoints(tmp_path / "checkpoints")
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-000010", "step-000020"]


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    weights = checkpoint.folder / "model.safetensors"
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        load_weights(nn.Linear(2, 3), checkpoint)


def test_missing_and_truncated_files_are_told(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    (checkpoint.folder / "trainer.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks trainer\.safetensors"):
        load_trainer(checkpoint)
    (checkpoint.folder / "checkpoint.json").write_text('{"earscribe_checkpoint": 1, "st')
    with pytest.raises(UserError, match="no whole checkpoint"):
        find_checkpoint(tmp_path, "last")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit its config\.json"):
        load_weights(nn.Linear(2, 4), save(tmp_path, 1))


class Exploding:
    """Unpickled, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("archive", [True, False], ids=["torch", "pickle"])
def test_pickled_code_is_refused_and_never_run(tmp_path: Path, name: str, archive: bool) -> None:
    checkpoint = save(tmp_path, 1)
    bomb, trap = Exploding(tmp_path / "boom"), checkpoint.folder / name
    if archive:
        torch.save(bomb, trap)
    else:
        trap.write_bytes(pickle.dumps(bomb))
    with pytest.raises(UserError, match="pickled code"):
        load_network(find_checkpoint(tmp_path, "last"))
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("head", [b"\x80", b"PK"])
def test_weights_that_begin_like_a_pickle_are_still_weights(tmp_path: Path, head: bytes) -> None:
    """A safetensors file begins with the length of its header, which may be any number."""
    checkpoint = save(tmp_path, 1)
    path = checkpoint.folder / "model.safetensors"
    body = path.read_bytes()
    old = int.from_bytes(body[:8], "little")
    size = int.from_bytes(head.ljust(2, b"\1"), "little")  # a header filled up with blanks
    path.write_bytes(size.to_bytes(8, "little") + body[8 : 8 + old].ljust(size) + body[8 + old :])
    assert path.read_bytes().startswith(head)
    about = checkpoint.folder / "checkpoint.json"
    digest = checkpoint.files["model.safetensors"]
    about.write_text(about.read_text().replace(digest, sha256_file(path)))
    load_weights(nn.Linear(2, 3), find_checkpoint(tmp_path, "last"))


def test_another_version_is_told(tmp_path: Path) -> None:
    about = save(tmp_path, 1).folder / "checkpoint.json"
    about.write_text(about.read_text().replace('checkpoint": 1', 'checkpoint": 99'))
    with pytest.raises(SchemaVersionError, match="version 99"):
        find_checkpoint(tmp_path, "last")


def test_no_run_names_the_runs_there_are(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(UserError, match=r"no run .*tiny: runs in .* are base"):
        find_checkpoint(tmp_path / "tiny", "best")
    with pytest.raises(UserError, match="no checkpoint yet"):
        find_checkpoint(tmp_path / "base", "best")
    save(tmp_path / "base", 1)
    with pytest.raises(UserError, match="give --checkpoint last"):
        find_checkpoint(tmp_path / "base", "best")


def test_settings_of_an_unknown_key_are_refused(tmp_path: Path) -> None:
    saved = {**config_to_json(dataclasses.replace(TINY)), "stepps": 3}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match="did you mean steps"):
        read_config(tmp_path / "config.json")
