"""Trimming, fading and levelling against clips made by hand."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from dataset.clips import Cut, CutConfig, Span
from dataset.cutting import cut
from dataset.decoding import AudioError, as_frame
from dataset.measures import Meter
from dataset.pairs import ErrorClass

RATE = 16_000


def tone(seconds: float, amplitude: float) -> NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * 997 * np.arange(round(seconds * RATE)) / RATE)


def shaped(
    wave: NDArray[np.float64], folder: Path, config: CutConfig, span: Span = Span(0.0, None)
) -> tuple[Cut, NDArray[np.int16]]:
    sf.write(folder / "a.wav", wave, RATE, subtype="PCM_16")
    target = folder / f"clip.{config.codec}"
    [done] = cut(folder / "a.wav", [span], [target], config)
    assert isinstance(done, Cut), done
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", target.name]
    return done, sf.read(target, dtype="int16")[0]


def level(samples: NDArray[np.int16]) -> tuple[float | None, float | None]:
    meter = Meter(0.0, None)
    meter.push(as_frame(samples[:, None], RATE))
    return meter.result()


@pytest.mark.parametrize("margin_s", [0.0, 0.25, 2.0])
def test_silence_at_the_edges_is_trimmed_to_the_margin(tmp_path: Path, margin_s: float) -> None:
    wave = np.concatenate(
        [np.zeros(24_000), tone(3, 0.5), np.zeros(RATE), tone(2, 0.5), np.zeros(8_000)]
    )
    done, samples = shaped(wave, tmp_path, CutConfig(trim_silence_s=margin_s), Span(0.5, None))
    assert done.actual_start_s == pytest.approx(max(1.5 - margin_s, 0.5), abs=0.021)
    assert done.actual_end_s == pytest.approx(min(7.5 + margin_s, 8.0), abs=0.021)
    first, stop = round(done.actual_start_s * RATE), round(done.actual_end_s * RATE)
    assert np.array_equal(samples, sf.read(tmp_path / "a.wav", dtype="int16")[0][first:stop])


def test_a_clip_of_silence_alone_fails(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(RATE * 2), RATE)
    targets = [tmp_path / "b.flac"]
    [done] = cut(tmp_path / "a.wav", [Span(0, 1)], targets, CutConfig(trim_silence_s=0.1))
    assert isinstance(done, AudioError)
    assert done.error_class is ErrorClass.NO_AUDIO


def test_the_edges_are_faded(tmp_path: Path) -> None:
    done, samples = shaped(np.full(RATE * 2, 0.5), tmp_path, CutConfig(fade_s=0.5))
    assert (done.actual_start_s, done.actual_end_s) == (0.0, 2.0)
    ramp = 16_384 * (np.arange(8_000) + 0.5) / 8_000
    assert np.abs(samples[:8_000] - ramp).max() <= 1
    assert np.abs(samples[-8_000:] - ramp[::-1]).max() <= 1
    assert (samples[8_000:-8_000] == 16_384).all()


def test_a_fade_longer_than_the_clip_meets_in_its_middle(tmp_path: Path) -> None:
    _, samples = shaped(np.full(RATE, 0.5), tmp_path, CutConfig(fade_s=9.0))
    assert int(np.argmax(samples)) in (7_999, 8_000)
    assert samples[0] == samples[-1] == 1


@pytest.mark.parametrize("amplitude", [0.01, 0.9])
def test_the_loudness_becomes_what_is_asked_for(tmp_path: Path, amplitude: float) -> None:
    done, samples = shaped(tone(5, amplitude), tmp_path, CutConfig(loudness_lufs=-23.0))
    loudness, _ = level(samples)
    assert loudness == pytest.approx(-23.0, abs=0.1)
    before, _ = level(np.round(tone(5, amplitude) * 32_768).astype(np.int16))
    assert done.loudness_lufs == pytest.approx(before, abs=0.1)  # the source's, as it was


def test_no_gain_raises_a_true_peak_above_its_limit(tmp_path: Path) -> None:
    wave = tone(5, 0.01)
    wave[40_000:40_200] *= 50  # a quiet clip with one loud place
    _, samples = shaped(wave, tmp_path, CutConfig(loudness_lufs=-14.0))
    loudness, peak = level(samples)
    assert peak == pytest.approx(-1.0, abs=0.1)
    assert peak <= -1.0
    assert loudness is not None and loudness < -15.0


def test_a_silent_clip_stays_as_it_is(tmp_path: Path) -> None:
    done, samples = shaped(np.zeros(RATE * 2), tmp_path, CutConfig(loudness_lufs=-23.0))
    assert done == Cut(0.0, 2.0, None, None)
    assert not samples.any()


@pytest.mark.parametrize("codec", ["flac", "opus", "wav"])
def test_everything_at_once_and_in_blocks(
    tmp_path: Path, codec: Literal["flac", "opus", "wav"]
) -> None:
    """A clip of several blocks, trimmed, levelled and faded: its middle is the tone."""
    wave = np.concatenate([np.zeros(RATE), tone(9, 0.05), np.zeros(RATE)])
    config = CutConfig(codec=codec, trim_silence_s=0.5, fade_s=1.0, loudness_lufs=-20.0)
    done, samples = shaped(wave, tmp_path, config)
    assert (done.actual_start_s, done.actual_end_s) == (0.5, 10.5)
    assert len(samples) == 10 * RATE
    middle = samples[5 * RATE : 6 * RATE] / 32_768
    place = np.abs(np.fft.rfft(middle)).argmax()
    assert place == 997
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(10 ** (-17 / 20), rel=0.05)
