"""A trained captioner at work: any recording -> one caption.

Letters: W windows, M samples, N codes, D width.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crawler.errors import UserError
from dataset.decoding import AudioError, load_segment
from model.checkpoint import load_network
from model.config import GenerateConfig, TrainConfig
from model.features import Spectrogram
from model.network import Captioner
from model.runs import Checkpoint, Which, find_checkpoint
from model.tokenizer import Tokenizer

BATCH_SIZE = 16  # windows, or captions, that go through the network at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCaptioner:
    """A checkpoint loaded, with all that turns samples into words."""

    checkpoint: Checkpoint
    config: TrainConfig
    tokenizer: Tokenizer
    network: Captioner
    spectrogram: Spectrogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What a run says of a recording; JSON values."""

    text: str
    file: str
    run: str
    step: int  # updates behind the weights
    duration_s: float
    num_windows: int


def load_captioner(run: Path, checkpoint: Which = "best") -> TrainedCaptioner:
    """Load a run for generation; UserError when the run, the checkpoint or a file is missing.

    A training that goes on may remove the checkpoint under our eyes: then its successor is read.
    """
    found = find_checkpoint(run, checkpoint)
    try:
        return captioner_of(found)
    except (UserError, OSError):
        if found.folder.is_dir():
            raise
    return captioner_of(find_checkpoint(run, checkpoint))


def captioner_of(checkpoint: Checkpoint) -> TrainedCaptioner:
    """Load a checkpoint for generation; UserError when it is damaged."""
    config, tokenizer, network = load_network(checkpoint)
    return TrainedCaptioner(
        checkpoint=checkpoint,
        config=config,
        tokenizer=tokenizer,
        network=network,
        spectrogram=Spectrogram(config.features).eval(),
    )


def caption(
    file: Path, run: Path, config: GenerateConfig, *, checkpoint: Which = "best"
) -> Caption:
    """Caption any audio file; UserError when the run or the file is missing or holds no audio."""
    if not file.is_file():
        raise UserError(f"no file {file}: give an audio file")
    captioner = load_captioner(run, checkpoint)
    try:
        waveform = load_segment(file, sample_rate=captioner.config.features.sample_rate)
    except AudioError as error:
        raise UserError(f"{file} cannot be read as audio ({error}): give an audio file") from error
    (text,) = generate_captions(captioner, [waveform], config)
    return Caption(
        text=text,
        file=str(file),
        run=str(run),
        step=captioner.checkpoint.step,
        duration_s=len(waveform) / captioner.config.features.sample_rate,
        num_windows=len(window_starts(len(waveform), window_samples(captioner.config))),
    )


@torch.no_grad()
def generate_captions(
    captioner: TrainedCaptioner, waveforms: Sequence[np.ndarray], config: GenerateConfig
) -> list[str]:
    """One caption for each waveform (M,) at the captioner's sample rate, of any length.

    It depends on its own waveform and the settings alone, not on the others: what nucleus draws
    is drawn for each from the same seed.
    """
    size = 1 if config.method == "nucleus" else BATCH_SIZE
    codes = torch.cat([recording_codes(captioner, waveform) for waveform in waveforms])
    ids = [
        row for some in codes.split(size) for row in captioner.network.generate_tokens(some, config)
    ]
    return [captioner.tokenizer.decode(row).strip() for row in ids]


def recording_codes(captioner: TrainedCaptioner, waveform: np.ndarray) -> Tensor:
    """The music code (1, N, D) of a whole recording: the mean over the codes of its windows.

    Windows are as long as the crops of the training, so that the network hears what it knows, and
    their codes are averaged: memory holds all samples of a recording (4 bytes each) and all codes,
    but the network never more than BATCH_SIZE windows.
    """
    spectrogram, network = captioner.spectrogram, captioner.network
    codes = []
    for some in windows(waveform, window_samples(captioner.config)):  # (W, M)
        frames = spectrogram.num_frames(torch.full((len(some),), some.shape[1]))
        codes.append(network.encode_music(spectrogram(some), frames).codes)  # (W, N, D)
    return torch.cat(codes).mean(dim=0, keepdim=True)


def windows(waveform: np.ndarray, size: int) -> Iterator[Tensor]:
    """The windows of a recording, (W, M) with W <= BATCH_SIZE at a time."""
    starts = window_starts(len(waveform), size)
    for first in range(0, len(starts), BATCH_SIZE):
        some = starts[first : first + BATCH_SIZE]
        yield torch.from_numpy(np.stack([waveform[start : start + size] for start in some]))


def window_starts(num_samples: int, size: int) -> list[int]:
    """As few windows of `size` samples as cover a recording, at equal distances; at least one."""
    assert num_samples > 0, "a recording has samples"
    count = math.ceil(num_samples / size)
    if count == 1:
        return [0]
    return [round(place * (num_samples - size) / (count - 1)) for place in range(count)]


def window_samples(config: TrainConfig) -> int:
    """M: the length of a training crop."""
    return round(config.crop_s * config.features.sample_rate)
