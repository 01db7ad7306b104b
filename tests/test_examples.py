"""Batches against the clips they are cut from."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from crawler.errors import UserError
from dataset.pairs import Pair
from model.config import FeatureConfig, TrainConfig
from model.examples import PairDataset, are_kin, kin_of, num_batches, training_items
from model.tokenizer import BOS, EOS, PAD, Tokenizer

RATE = 1000  # Hz
CAPTIONS = ("The cello sings.", "A dance.", "All four players end the work together, loudly.")


def make_pair(number: int, num_samples: int, caption: str) -> Pair:
    return Pair(
        pair_id=str(number), work_id="w", level="movement", movements=(1,), recording_id="r",
        clip_id=str(number), caption=caption, caption_raw=caption, note_source="own", text_index=0,
        num_words=1, num_tokens=1, align_method="test", align_score=1.0, composer="c", title="t",
        source_url="http://127.0.0.1/", bounds_source="page", page_url="http://127.0.0.1/",
        text_rights="CC0", audio_rights="CC0", sample_rate=RATE, num_samples=num_samples,
        audio={"bytes": None, "path": f"clips/{number}.flac"}, status="ok",
    )  # fmt: skip


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, list[Pair]]:
    """Ramps: the value of a sample tells its place."""
    (tmp_path / "clips").mkdir()
    pairs = []
    for number, seconds in enumerate((3, 5, 1)):
        ramp = (np.arange(seconds * RATE) + 1).astype(np.int16)
        soundfile.write(tmp_path / f"clips/{number}.flac", ramp, RATE, subtype="PCM_16")
        pairs.append(make_pair(number, len(ramp), CAPTIONS[number]))
    return tmp_path, pairs


def dataset(clips: tuple[Path, list[Pair]], *, seed: int = 0, fixed: bool = False) -> PairDataset:
    config = TrainConfig(
        seed=seed,
        crop_s=2.0,
        features=FeatureConfig(sample_rate=RATE),
        model=dataclasses.replace(TrainConfig().model, max_tokens=20),
    )
    tokenizer = Tokenizer.train(CAPTIONS, 300)
    return PairDataset(*clips, tokenizer, config, fixed_crops=fixed)


def test_kin_share_a_clip_or_a_caption() -> None:
    pairs = [make_pair(n, 1, text) for n, text in ((1, "a b"), (2, "c"), (1, "d"), (3, "a  b "))]
    kin = kin_of(pairs)
    assert are_kin(kin, kin).int().tolist() == [
        [1, 0, 1, 1], [0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1],
    ]  # fmt: skip


def places(row: torch.Tensor) -> np.ndarray:
    """Sample values of a ramp -> places in the clip."""
    return np.rint(row.numpy() * 32768).astype(int) - 1


def test_training_crops_are_consecutive_and_depend_on_seed_epoch_and_pair(
    clips: tuple[Path, list[Pair]],
) -> None:
    pairs = dataset(clips, seed=5)
    starts = []
    for epoch in range(4):
        for item in (0, 1):
            found = places(pairs.waveform(item, epoch))
            assert found.tolist() == list(range(found[0], found[0] + 2 * RATE))
            starts.append(found[0])
    assert len(set(starts)) == len(starts)
    assert torch.equal(pairs.waveform(1, 3), dataset(clips, seed=5).waveform(1, 3))
    assert not torch.equal(pairs.waveform(1, 3), dataset(clips, seed=6).waveform(1, 3))


def test_fixed_crops_are_the_middle_in_every_epoch(clips: tuple[Path, list[Pair]]) -> None:
    pairs = dataset(clips, fixed=True)
    assert places(pairs.waveform(1, 0)).tolist() == list(range(1500, 3500))
    assert torch.equal(pairs.waveform(1, 0), pairs.waveform(1, 9))


def test_a_batch_is_padded_and_says_where(clips: tuple[Path, list[Pair]]) -> None:
    batch = dataset(clips).batch([2, 0])
    assert batch.items.tolist() == [2, 0]
    assert batch.num_samples.tolist() == [RATE, 2 * RATE]
    assert places(batch.waveform[0, :RATE]).tolist() == list(range(RATE))
    assert not batch.waveform[0, RATE:].any()
    assert batch.tokens.shape == batch.token_mask.shape
    for row, mask in zip(batch.tokens.tolist(), batch.token_mask.tolist(), strict=True):
        inside = [token for token, kept in zip(row, mask, strict=True) if kept]
        assert inside[0] == BOS
        assert inside[-1] == EOS
        assert mask == sorted(mask, reverse=True)
        assert set(row[len(inside) :]) <= {PAD}
    assert batch.token_mask.sum(1).max() == 20  # the long caption is cut to max_tokens


def test_every_epoch_takes_every_pair_once_in_a_new_order() -> None:
    size, batch_size = 11, 4
    batches = num_batches(size, batch_size)
    epochs = []
    for epoch in range(3):
        steps = [
            training_items(size, batch_size, 7, step)
            for step in range(epoch * batches, (epoch + 1) * batches)
        ]
        assert {number for number, _ in steps} == {epoch}
        assert {len(items) for _, items in steps} == {3, 4}
        epochs.append([item for _, items in steps for item in items])
        assert Counter(epochs[-1]) == Counter(range(size))
    assert epochs[0] != epochs[1] != epochs[2]
    assert training_items(size, batch_size, 7, 4) == training_items(size, batch_size, 7, 4)
    assert training_items(size, batch_size, 7, 4) != training_items(size, batch_size, 8, 4)


def test_a_clip_that_is_no_audio_is_named(clips: tuple[Path, list[Pair]]) -> None:
    (clips[0] / "clips/1.flac").write_text("<html>")
    with pytest.raises(UserError, match=r"1\.flac cannot be read .* `earscribe validate`"):
        dataset(clips).waveform(1, 0)


def test_a_vanished_clip_is_named(clips: tuple[Path, list[Pair]]) -> None:
    (clips[0] / "clips/1.flac").unlink()
    with pytest.raises(UserError, match=r"1 of 3 clips .*1\.flac: run `earscribe fetch`"):
        dataset(clips)
