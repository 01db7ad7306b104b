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
import tempfile
from collections.abc import Mapping
from pathlib import Path

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
