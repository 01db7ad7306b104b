"""Captions of recordings of any length, and plain words for what is no recording."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_model import SMALL

from crawler.errors import UserError
from dataset.splits import SplitConfig, split
from model import generate
from model.config import GenerateConfig
from model.generate import (
    TrainedCaptioner,
    caption,
    generate_captions,
    load_captioner,
    recording_codes,
    window_starts,
)
from model.runs import find_checkpoint
from model.train import train

RATE = SMALL.features.sample_rate
GREEDY = GenerateConfig(method="greedy", max_tokens=12)


@pytest.fixture(scope="module")
def run(built_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few updates."""
    data = tmp_path_factory.mktemp("generate") / "corpus"
    data.mkdir()
    for name in ("clips", "pairs.parquet"):
        (data / name).symlink_to(built_corpus / name)
    split(data, SplitConfig())
    return train(data, dataclasses.replace(SMALL, steps=3)).artifact


@pytest.fixture(scope="module")
def captioner(run: Path) -> TrainedCaptioner:
    return load_captioner(run)


def tone(seconds: float, hertz: float) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


@pytest.mark.parametrize(("num_samples", "size"), [(1, 8), (8, 8), (9, 8), (16, 8), (1003, 8)])
def test_windows_cover_every_sample_and_stay_inside(num_samples: int, size: int) -> None:
    starts = window_starts(num_samples, size)
    covered = {place for start in starts for place in range(start, min(start + size, num_samples))}
    assert covered == set(range(num_samples))
    assert len(starts) == -(-num_samples // size)
    assert all(start + size <= num_samples for start in starts) or starts == [0]


def test_the_code_of_a_recording_is_the_mean_over_its_windows(captioner: TrainedCaptioner) -> None:
    first, second = tone(0.5, 300), tone(0.5, 1700)  # 0.5 s is a training crop
    with torch.no_grad():
        apart = [recording_codes(captioner, one) for one in (first, second)]
        whole = recording_codes(captioner, np.concatenate([first, second]))
    assert not torch.allclose(*apart, atol=1e-4)
    torch.testing.assert_close(whole, (apart[0] + apart[1]) / 2)


def test_long_recordings_go_through_in_batches_of_windows(captioner: TrainedCaptioner) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)  # 40 windows
    with torch.no_grad():
        windows = [recording_codes(captioner, part) for part in np.split(noise, 40)]
        whole = recording_codes(captioner, noise)
    torch.testing.assert_close(whole, torch.cat(windows).mean(dim=0, keepdim=True))


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_the_same_settings_give_the_same_captions(captioner: TrainedCaptioner, method: str) -> None:
    config = GenerateConfig(method=method, num_beams=2, max_tokens=12, seed=4)
    waveforms = [tone(0.5, 300), tone(1.7, 900), tone(0.2, 500)]
    texts = generate_captions(captioner, waveforms, config)
    assert len(texts) == 3
    assert texts == generate_captions(captioner, waveforms, config)


def test_a_caption_in_a_batch_is_the_caption_alone(captioner: TrainedCaptioner) -> None:
    waveforms = [tone(0.5, 300), tone(1.7, 900)]
    alone = [generate_captions(captioner, [one], GREEDY)[0] for one in waveforms]
    assert generate_captions(captioner, waveforms, GREEDY) == alone


def test_what_nucleus_draws_depends_on_the_recording_alone(captioner: TrainedCaptioner) -> None:
    config = GenerateConfig(method="nucleus", max_tokens=12, top_p=1.0, seed=4)
    waveforms = [tone(0.5, 300), tone(1.7, 900), tone(0.5, 500)]
    alone = [generate_captions(captioner, [one], config)[0] for one in waveforms]
    assert generate_captions(captioner, waveforms[::-1], config) == alone[::-1]


def test_a_checkpoint_pruned_under_our_eyes_gives_way_to_the_next(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    stale = find_checkpoint(copy, "last")
    newer = dataclasses.replace(stale, folder=stale.folder.with_name("step-000004"), step=4)
    listings = [newer, stale]  # the newer one is gone when it is read
    monkeypatch.setattr(generate, "find_checkpoint", lambda *_: listings.pop(0))
    assert load_captioner(copy).checkpoint.step == 3
    (stale.folder / "tokenizer.json").unlink()
    listings = [stale, stale]
    with pytest.raises(UserError, match=r"lacks tokenizer\.json"):
        load_captioner(copy)
    assert listings == [stale]  # there, but damaged: read once


def test_samples_that_are_no_sound_get_no_caption(run: Path, tmp_path: Path) -> None:
    for value in (np.nan, np.inf, 1e30):
        soundfile.write(tmp_path / "a.wav", np.full(RATE, value, np.float32), RATE, subtype="FLOAT")
        with pytest.raises(UserError, match=r"a\.wav cannot be read as audio .*no numbers"):
            caption(tmp_path / "a.wav", run, GREEDY)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_any_audio_file_gets_a_caption(run: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"song.{suffix}"
    stereo = np.stack([np.repeat(tone(1.2, 440), 2)] * 2, axis=1)  # 32 kHz: resampled, mixed down
    soundfile.write(file, stereo, 2 * RATE)
    found = caption(file, run, GREEDY)
    assert isinstance(found.text, str)
    assert (found.file, found.run) == (str(file), str(run))
    assert found.duration_s == pytest.approx(1.2, abs=0.03)
    assert found.num_windows == 3
    assert found.step == 3


def test_what_is_no_recording_is_told_in_one_line(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.mp3"
    page.write_text("<html>not found</html>")
    for file, words in (
        (page, r"page\.mp3 cannot be read as audio"),
        (tmp_path / "absent.wav", r"no file .*absent\.wav"),
        (tmp_path, "no file"),
    ):
        with pytest.raises(UserError, match=words) as raised:
            caption(file, run, GREEDY)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"no run .*other: runs in .* are small"):
        caption(page, run.with_name("other"), GREEDY)
