"""Pairs of a split as batches: audio crops and tokens, the same for the same seed and step.

Letters: B batch, M samples, L tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crawler.errors import UserError
from dataset.decoding import AudioError, load_segment
from dataset.pairs import Pair
from model.config import TrainConfig
from model.tokenizer import PAD, Tokenizer

# First word of the seeds below: what is drawn for one purpose tells nothing about another.
ORDER, CROP = 1, 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pairs of a split, padded to the longest of them."""

    waveform: Tensor  # (B, M) in -1..1, zero past num_samples
    num_samples: Tensor  # (B,)
    tokens: Tensor  # (B, L) with [BOS] and [EOS], [PAD] where token_mask is False
    token_mask: Tensor  # (B, L) bool
    items: Tensor  # (B,) places of the pairs in their split
    kin: Tensor  # (B, 2) the number of each one's clip and of its caption


class PairDataset:
    """The pairs of one split part, a crop of `config.crop_s` seconds from each.

    Training crops begin where (seed, epoch, place) says; with `fixed_crops` every epoch takes the
    middle, so that validation losses can be compared. A shorter clip is taken whole.
    """

    def __init__(
        self,
        data: Path,
        pairs: Sequence[Pair],
        tokenizer: Tokenizer,
        config: TrainConfig,
        *,
        fixed_crops: bool = False,
    ) -> None:
        self.paths = clip_paths(data, pairs)
        self.durations_s = [(pair.num_samples or 0) / (pair.sample_rate or 1) for pair in pairs]
        self.tokens = [
            torch.tensor(tokenizer.encode(pair.caption, config.model.max_tokens)) for pair in pairs
        ]
        self.kin = kin_of(pairs)  # (n, 2)
        self.sample_rate = config.features.sample_rate
        self.crop_s = config.crop_s
        self.seed = config.seed
        self.fixed_crops = fixed_crops

    def __len__(self) -> int:
        return len(self.paths)

    def start_s(self, item: int, epoch: int) -> float:
        """Where the crop of a pair begins in its clip."""
        slack_s = max(0.0, self.durations_s[item] - self.crop_s)
        if self.fixed_crops:
            return slack_s / 2
        return slack_s * float(np.random.default_rng((CROP, self.seed, epoch, item)).random())

    def waveform(self, item: int, epoch: int) -> Tensor:
        """(M,) the crop of a pair; UserError for a clip that is no audio."""
        path = self.paths[item]
        try:
            samples = load_segment(
                path,
                sample_rate=self.sample_rate,
                start_s=self.start_s(item, epoch),
                duration_s=self.crop_s,
            )
        except AudioError as error:
            raise UserError(f"{path} cannot be read ({error}): run `earscribe validate`") from error
        return torch.from_numpy(samples)

    def batch(self, items: Sequence[int], epoch: int = 0) -> Batch:
        """The pairs at the places `items`."""
        waveforms = [self.waveform(item, epoch) for item in items]
        tokens = [self.tokens[item] for item in items]
        padded = pad(tokens, PAD)
        lengths = torch.tensor([len(row) for row in tokens])
        return Batch(
            waveform=pad(waveforms, 0.0),
            num_samples=torch.tensor([len(row) for row in waveforms]),
            tokens=padded,
            token_mask=torch.arange(padded.shape[1]) < lengths[:, None],
            items=torch.tensor(items),
            kin=self.kin[list(items)],
        )


def pad(rows: Sequence[Tensor], value: float) -> Tensor:
    """Rows of unlike lengths -> (B, longest), filled up with `value`."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def kin_of(pairs: Sequence[Pair]) -> Tensor:
    """Clip and caption of each pair as numbers (n, 2): kin have one of the two in common.

    Captions that differ in white space alone are equal.
    """
    clips: dict[str | None, int] = {}
    captions: dict[str, int] = {}
    rows = [
        (
            clips.setdefault(pair.clip_id, len(clips)),
            captions.setdefault(" ".join(pair.caption.split()), len(captions)),
        )
        for pair in pairs
    ]
    return torch.tensor(rows)


def are_kin(some: Tensor, others: Tensor) -> Tensor:
    """(B, 2), (Q, 2) of `kin_of` -> (B, Q) bool: who shares the clip or the caption of whom."""
    return (some[:, None] == others).any(dim=-1)


def clip_paths(data: Path, pairs: Sequence[Pair]) -> list[Path]:
    """The clip of each pair; UserError that says how many are not there."""
    paths = [data / pair.audio["path"] for pair in pairs if pair.audio is not None]
    assert len(paths) == len(pairs), "a split holds only pairs with a clip"
    missing = sorted({path for path in paths if not path.is_file()})
    if missing:
        raise UserError(
            f"{len(missing)} of {len(set(paths))} clips are not there, for example {missing[0]}: "
            "run `earscribe fetch` again"
        )
    return paths


def num_batches(num_items: int, batch_size: int) -> int:
    """Batches of an epoch."""
    return math.ceil(num_items / batch_size)


def training_items(num_items: int, batch_size: int, seed: int, step: int) -> tuple[int, list[int]]:
    """The epoch of an update (from 0) and the places of the pairs in its batch.

    An epoch takes every pair once, in an order that (seed, epoch) shuffles, in batches that differ
    by one pair at most: no runt at the end. Any step can be asked for, so a run can go on anywhere.
    """
    batches = num_batches(num_items, batch_size)
    epoch, position = divmod(step, batches)
    order = np.random.default_rng((ORDER, seed, epoch)).permutation(num_items)
    return epoch, np.array_split(order, batches)[position].tolist()
