"""The loop: a split -> runs/<run>, resumable after any interruption to the very same weights.

    config.json, split.json   what the run was begun with: another setting or split is refused
    tokenizer.json            trained on the captions of the training part alone
    checkpoints/step-XXXXXX/  the newest two and the best by validation loss
    log.jsonl                 losses by step, without times: the same run, the same bytes
    tensorboard/              the same figures as TensorBoard scalars
    similarity/               sentence BLEU of all pairs of training captions

All chance of an update (crops, dropout, token noise) is drawn from (seed, step), so a checkpoint
needs no random state and any step can be the first.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from crawler.draining import draining
from crawler.errors import UserError
from crawler.files import sweep_temporary, write_atomic
from crawler.ledger import folder_lock
from crawler.summary import Progress, Summary, silent
from dataset.parts import load_split
from model.checkpoint import (
    load_trainer,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from model.config import TrainConfig
from model.examples import PairDataset, training_items
from model.features import Spectrogram
from model.losses import captioning_loss
from model.network import Captioner
from model.objective import Memory, batch_losses, needs_memory, weighted_sum
from model.runs import (
    Checkpoint,
    begin_run,
    discard_after,
    finished,
    last_whole,
    list_checkpoints,
    run_folder,
    split_hashes,
    sweep_checkpoints,
    train_summary,
)
from model.tokenizer import Tokenizer

STEP = 3  # first word of an update's seed; examples.py has the others


def train(
    data: Path, config: TrainConfig, *, run: str | None = None, progress: Progress = silent
) -> Summary:
    """Train to `config.steps` updates in runs/<run>, from the last checkpoint if there is one.

    `run` is the preset's name by default. Straight through or in any number of pieces the weights
    are the same to the bit on the same machine and threads; a finished run does nothing. UserError
    when the split or a clip is missing, when the run was begun with other settings, or when a loss
    is not finite. SIGINT and SIGTERM end it after the update in hand, with a checkpoint.
    """
    folder = run_folder(data, run or config.preset)
    hashes = split_hashes(data, config.split)
    pairs = load_split(data, config.split, "train")
    held_out = load_split(data, config.split, "validation")
    with folder_lock(folder, "--run"), threads(config.threads), draining() as stop:
        # ---- the run: new, to be continued, or done
        begin_run(folder, config, hashes)
        sweep_temporary(folder)
        sweep_checkpoints(folder / "checkpoints")
        complete = finished(data, config, run)
        if complete:
            return complete
        last = last_whole(folder)
        first_step = last.step if last else 0
        discard_after(folder / "checkpoints", first_step)

        # ---- data
        captions = [pair.caption for pair in pairs]
        tokenizer = run_tokenizer(folder, captions, config, last)
        training = PairDataset(data, pairs, tokenizer, config)
        validation = PairDataset(data, held_out, tokenizer, config, fixed_crops=True)

        # ---- network, optimizer, and the memory that the queue form of GTP needs
        torch.manual_seed(config.seed)
        network = Captioner(config.model, config.features)
        spectrogram = Spectrogram(config.features)
        optimizer = make_optimizer(network, config)
        if last:
            load_weights(network, last)
        memory = None
        if needs_memory(config.loss):
            memory = Memory(network, captions, training.kin, config, folder)
        if last:
            restore_trainer(load_trainer(last), optimizer, network, memory)

        # ---- updates
        best_loss = last.best_loss if last else None
        truncate_log(folder / "log.jsonl", first_step)
        with RunLog(folder, first_step) as log:
            for step in range(first_step, config.steps):
                seed = seed_step(config.seed, step)
                epoch, items = training_items(len(training), config.batch_size, config.seed, step)
                batch = training.batch(items, epoch)
                network.train()
                losses = batch_losses(network, spectrogram, batch, config.loss, memory, seed)
                total = weighted_sum(losses, config.loss)
                optimizer.zero_grad(set_to_none=True)
                total.backward()
                norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
                refuse_non_finite(step, total, norm, losses)
                rate = learning_rate(config, step)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
                if memory:
                    memory.momentum.update(network.music_encoder, config.loss.momentum)

                # ---- log, validate, keep
                done = step + 1
                end = done == config.steps or stop.is_set()
                if done % config.log_every == 0 or done == config.steps:
                    figures = {"loss": total, **losses, "gradient_norm": norm}
                    figures = {name: float(value.detach()) for name, value in figures.items()}
                    log.write(done, **figures, learning_rate=rate)
                loss = None
                if done % config.validate_every == 0 or done == config.steps:
                    loss = validation_loss(network, spectrogram, validation, config.batch_size)
                    log.write(done, validation_loss=loss)
                improved = loss is not None and (best_loss is None or loss < best_loss)
                best_loss = loss if improved else best_loss
                if done % config.checkpoint_every == 0 or improved or end:
                    log.sync()
                    save_checkpoint(
                        folder / "checkpoints",
                        step=done,
                        config=config,
                        tokenizer=tokenizer,
                        network=network,
                        trainer=trainer_tensors(optimizer, network, memory),
                        validation_loss=loss,
                        best_loss=best_loss,
                    )
                progress(done, config.steps)
                if end:
                    break
        work_done = done - first_step
        return train_summary(folder, config, list_checkpoints(folder / "checkpoints"), work_done)


def run_tokenizer(
    folder: Path, captions: list[str], config: TrainConfig, last: Checkpoint | None
) -> Tokenizer:
    """The tokenizer of the last checkpoint, or one trained on the training captions."""
    if last:
        return Tokenizer.load(last.verified("tokenizer.json"))
    tokenizer = Tokenizer.train(captions, config.model.vocab_size)
    tokenizer.save(folder / "tokenizer.json")
    return tokenizer


def refuse_non_finite(step: int, total: Tensor, norm: Tensor, losses: Mapping[str, Tensor]) -> None:
    """UserError when the loss or the gradient of an update is not finite: it must not be taken."""
    if not (torch.isfinite(total) and torch.isfinite(norm)):
        parts = ", ".join(f"{name} {float(loss.detach()):.4g}" for name, loss in losses.items())
        raise UserError(
            f"update {step + 1} is not finite ({parts}; gradient norm {float(norm):.4g}): give "
            "another --run with a lower train.learning_rate"
        )


@torch.no_grad()
def validation_loss(
    network: Captioner, spectrogram: Spectrogram, dataset: PairDataset, batch_size: int
) -> float:
    """Captioning loss, nats a token, over the whole validation part with fixed crops."""
    network.eval()
    total, count = 0.0, 0
    for first in range(0, len(dataset), batch_size):
        batch = dataset.batch(range(len(dataset))[first : first + batch_size])
        frames = spectrogram.num_frames(batch.num_samples)
        code = network.encode_music(spectrogram(batch.waveform), frames)
        logits = network.decode_text(batch.tokens, batch.token_mask, code.codes)
        num_tokens = int(batch.token_mask[:, 1:].sum())
        loss = captioning_loss(logits, batch.tokens, batch.token_mask)
        total, count = total + float(loss) * num_tokens, count + num_tokens
    return total / count


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not biases and norms."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [one for one in parameters if one.ndim >= 2],
                "weight_decay": config.weight_decay,
            },
            {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to zero at the end; `step` counts from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    left = (config.steps - step) / max(1, config.steps - config.warmup_steps)  # 1 .. 0
    return config.learning_rate * (1 - math.cos(math.pi * left)) / 2


def seed_step(seed: int, step: int) -> int:
    """Seed torch for an update (from 0) and return that seed."""
    derived = int(np.random.SeedSequence((STEP, seed, step)).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(derived)
    return derived


def trainer_tensors(
    optimizer: torch.optim.Optimizer, network: nn.Module, memory: Memory | None
) -> dict[str, Tensor]:
    """The state beside the weights by name."""
    remembered = memory.state_dict() if memory else {}
    return {
        **{f"optimizer/{k}": v for k, v in optimizer_tensors(optimizer, network).items()},
        **{f"memory/{k}": v for k, v in remembered.items()},
    }


def restore_trainer(
    tensors: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    network: nn.Module,
    memory: Memory | None,
) -> None:
    """Give a fresh optimizer and memory the state that `trainer_tensors` read."""
    of = {
        kind: {k.removeprefix(kind): v for k, v in tensors.items() if k.startswith(kind)}
        for kind in ("optimizer/", "memory/")
    }
    restore_optimizer(optimizer, network, of["optimizer/"])
    if memory:
        memory.load_state_dict(of["memory/"])


class RunLog:
    """log.jsonl and TensorBoard, from the updates after `first_step` on."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._board.close()
        self._lines.close()

    def write(self, step: int, **figures: float) -> None:
        """One line and one point a figure."""
        self._lines.write(json.dumps({"step": step, **figures}) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Bring the log to the disk: a checkpoint must not be ahead of it."""
        os.fsync(self._lines.fileno())


def truncate_log(path: Path, last_step: int) -> None:
    """Drop the lines after `last_step`, which the run writes again, and damaged ones."""
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and logged_step(line) <= last_step]
    write_atomic(path, b"".join(kept))


def logged_step(line: bytes) -> float:
    """The update that a line of the log tells of, infinity for a damaged line."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError):
        return math.inf


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads, 0 = as many as it likes."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
