"""One folder a checkpoint: safetensors weights, settings, tokenizer and the trainer's state.

    step-000150/checkpoint.json      step, validation losses, sha256 of the other files
                config.json          TrainConfig: with it the folder alone rebuilds the network
                tokenizer.json
                model.safetensors
                trainer.safetensors  optimizer, momentum encoder and queue by their names

Nothing is ever unpickled. A folder appears under its name only when all of it is on disk.
"""

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crawler.errors import SchemaVersionError, UserError
from crawler.files import TEMPORARY_PREFIX, fsync_folder, sha256_file
from crawler.options import layered
from model.config import TrainConfig
from model.network import Captioner
from model.tokenizer import Tokenizer

CHECKPOINT_VERSION = 1
NAME = re.compile(r"step-\d{6,}")
KEPT = 2  # the newest ones; the best is kept besides
PICKLED_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
PICKLED_HEADS = (b"\x80", b"PK")  # of a pickle, of torch's archive of pickles

Which = Literal["best", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What checkpoint.json says of its folder."""

    folder: Path
    step: int  # updates done
    validation_loss: float | None  # at this step; None when it was not validated
    best_loss: float | None  # lowest validation loss of the run so far
    files: Mapping[str, str]  # name -> sha256

    def verified(self, name: str) -> Path:
        """The path of one of its files; UserError when damaged, missing or pickled."""
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"checkpoint {self.folder} lacks {name}: give another or train again")
        refuse_pickle(path)
        if sha256_file(path) != self.files.get(name):
            raise UserError(f"{path} is damaged: remove the checkpoint {self.folder}")
        return path


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    config: TrainConfig,
    tokenizer: Tokenizer,
    network: nn.Module,
    trainer: Mapping[str, Tensor],
    validation_loss: float | None,
    best_loss: float | None,
) -> Checkpoint:
    """Write `folder`/step-XXXXXX whole, then remove those that are neither new nor best."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:06d}"
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))
    (temporary / "config.json").write_text(json.dumps(config_to_json(config), indent=1))
    tokenizer.save(temporary / "tokenizer.json")
    save_file(weights_of(network), temporary / "model.safetensors")
    save_file(dict(trainer), temporary / "trainer.safetensors")
    about = {
        "earscribe_checkpoint": CHECKPOINT_VERSION,
        "step": step,
        "validation_loss": validation_loss,
        "best_loss": best_loss,
        "files": {path.name: sha256_file(path) for path in sorted(temporary.iterdir())},
    }
    (temporary / "checkpoint.json").write_text(json.dumps(about, indent=1))
    for path in temporary.iterdir():
        path.chmod(0o644)
        with path.open("rb") as written:
            os.fsync(written.fileno())
    fsync_folder(temporary)
    temporary.chmod(0o755)
    temporary.replace(final)
    fsync_folder(folder)
    prune(folder)
    return read_checkpoint(final)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read checkpoint.json; UserError when it is missing or damaged, or the folder is pickled."""
    for path in sorted(folder.iterdir()):
        refuse_pickle(path)
    try:
        about = json.loads((folder / "checkpoint.json").read_text())
        version = about.pop("earscribe_checkpoint")
        if version != CHECKPOINT_VERSION:
            raise SchemaVersionError(
                f"{folder} has checkpoint version {version}, this program reads "
                f"{CHECKPOINT_VERSION}: train again"
            )
        return Checkpoint(folder=folder, **about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is no whole checkpoint ({error}): remove it") from error


def refuse_pickle(path: Path) -> None:
    """UserError for a file that could hold pickled code."""
    with path.open("rb") as body:
        pickled = path.suffix in PICKLED_SUFFIXES or body.read(2).startswith(PICKLED_HEADS)
    if pickled:
        raise UserError(f"{path} may hold pickled code: only safetensors and JSON are read")


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """The whole checkpoints of a run by step; [] without any."""
    if not folder.is_dir():
        return []
    found = [read_checkpoint(path) for path in folder.iterdir() if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """The one of lowest validation loss, of equals the earliest; None when none was validated."""
    validated = [one for one in checkpoints if one.validation_loss is not None]
    return min(validated, key=lambda one: (one.validation_loss, one.step), default=None)


def find_checkpoint(run: Path, which: Which) -> Checkpoint:
    """The best or last checkpoint of a run; UserError when there is no such run or checkpoint."""
    if not run.is_dir():
        known = sorted(path.name for path in run.parent.glob("*/") if path.is_dir())
        runs = ", ".join(known) or "none"
        raise UserError(f"no run {run}: runs in {run.parent} are {runs}; see `earscribe train`")
    checkpoints = list_checkpoints(run / "checkpoints")
    if not checkpoints:
        raise UserError(f"run {run} has no checkpoint yet: run `earscribe train` on")
    chosen = best_of(checkpoints) if which == "best" else checkpoints[-1]
    if chosen is None:
        raise UserError(f"run {run} has not been validated yet: train on or take the last one")
    return chosen


def prune(folder: Path) -> None:
    """Remove all checkpoints but the newest and the best."""
    checkpoints = list_checkpoints(folder)
    kept = {one.step for one in checkpoints[-KEPT:]}
    best = best_of(checkpoints)
    for checkpoint in checkpoints:
        if checkpoint.step not in kept and checkpoint is not best:
            discard(checkpoint.folder)


def sweep_checkpoints(folder: Path) -> None:
    """Remove what a killed run left half written or half removed."""
    for orphan in folder.glob(TEMPORARY_PREFIX + "*"):
        shutil.rmtree(orphan)


def discard(folder: Path) -> None:
    """Remove a checkpoint so that a kill on the way leaves no half of it under its name."""
    doomed = folder.with_name(TEMPORARY_PREFIX + folder.name)
    folder.replace(doomed)
    shutil.rmtree(doomed)


def load_network(checkpoint: Checkpoint) -> tuple[TrainConfig, Tokenizer, Captioner]:
    """Rebuild the network from its checkpoint alone, in eval mode; UserError when damaged."""
    config = read_config(checkpoint.verified("config.json"))
    tokenizer = Tokenizer.load(checkpoint.verified("tokenizer.json"))
    network = Captioner(config.model, config.features)
    load_weights(network, checkpoint)
    return config, tokenizer, network.eval()


def load_weights(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Fill a network of the right shape with the weights of a checkpoint."""
    path = checkpoint.verified("model.safetensors")
    tensors = read_tensors(path)
    own = weights_of(network)
    unfit = own.keys() ^ tensors.keys() or {k for k in own if own[k].shape != tensors[k].shape}
    if unfit:
        raise UserError(f"{path} does not fit its config.json: {', '.join(sorted(unfit)[:3])}")
    network.load_state_dict(tensors, strict=False)  # the tied names are not in the file


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; tensors that are tied stand once, under the first name."""
    named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    lasting = network.state_dict().keys()
    return {name: value.detach() for name, value in named.items() if name in lasting}


def load_trainer(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors that `save_checkpoint` was given as `trainer`."""
    return read_tensors(checkpoint.verified("trainer.safetensors"))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError when it is none."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file: {error}") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """The state of an optimizer as "parameter name/state name" -> tensor."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {
        f"{names[parameter]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give a fresh optimizer the state that `optimizer_tensors` read off another."""
    parameters = dict(network.named_parameters())
    for name, value in tensors.items():
        parameter, _, key = name.rpartition("/")
        optimizer.state[parameters[parameter]][key] = value


def config_to_json(config: TrainConfig) -> dict[str, Any]:
    """The settings of a run as JSON values."""
    return dataclasses.asdict(config)


def read_config(path: Path) -> TrainConfig:
    """The settings of a run; UserError when the file is not JSON or holds what is not allowed."""
    try:
        saved = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} holds no settings: {error}") from error
    return layered(TrainConfig(), "train", toml={"train": saved}, environment={})
