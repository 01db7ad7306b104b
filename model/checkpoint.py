"""One folder a checkpoint: safetensors weights, settings, tokenizer and the trainer's state.

    step-000150/checkpoint.json      step, validation losses, sha256 of the other files
                config.json          TrainConfig: with it the folder alone rebuilds the network
                tokenizer.json
                model.safetensors
                trainer.safetensors  optimizer, momentum encoder and queue by their names

Nothing is ever unpickled. A folder appears under its name only when all of it is on disk.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX, fsync_folder, sha256_file
from model.config import TrainConfig
from model.network import Captioner
from model.runs import (
    CHECKPOINT_VERSION,
    Checkpoint,
    config_to_json,
    discard,
    prune,
    read_checkpoint,
    read_config,
)
from model.tokenizer import Tokenizer


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
    """Write `folder`/step-XXXXXX whole, then remove those that are neither new nor best.

    UserError when the disk takes no more: the older checkpoints are untouched then.
    """
    final = folder / f"step-{step:06d}"
    temporary = folder / f"{TEMPORARY_PREFIX}new-{final.name}"
    about = {
        "earscribe_checkpoint": CHECKPOINT_VERSION,
        "step": step,
        "validation_loss": validation_loss,
        "best_loss": best_loss,
    }
    try:
        temporary.mkdir(parents=True)
        (temporary / "config.json").write_text(json.dumps(config_to_json(config), indent=1))
        tokenizer.save(temporary / "tokenizer.json")
        save_file(weights_of(network), temporary / "model.safetensors")
        save_file(dict(trainer), temporary / "trainer.safetensors")
        seal(temporary, about)
        if final.exists():  # a damaged one, or a stray
            discard(final)
        temporary.replace(final)
        fsync_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"cannot write the checkpoint {final} ({error}): make room and train on"
        ) from error
    prune(folder)
    return read_checkpoint(final)


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Add checkpoint.json with the hashes of the other files, and bring all to the disk."""
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    (folder / "checkpoint.json").write_text(json.dumps({**about, "files": files}, indent=1))
    for path in folder.iterdir():
        path.chmod(0o644)
        with path.open("rb") as written:
            os.fsync(written.fileno())
    fsync_folder(folder)


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
