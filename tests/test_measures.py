"""Measures against signals made by hand, and against FFmpeg's filters."""

import dataclasses
import hashlib
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from dataset.decoding import LAYOUTS, AudioError
from dataset.measures import Amount, Measures, Meter, measure

AMOUNTS: tuple[Amount, ...] = ("full", "basic", "none")


def level(wave: NDArray[np.float32], rate: int, cut_s: tuple[float, float | None]) -> Any:
    """The level of a stretch of (num_samples, channels)."""
    meter = Meter(*cut_s)
    for at in range(0, len(wave), 4_000):
        block = np.ascontiguousarray(wave[at : at + 4_000].T, dtype=np.float32)
        layout = LAYOUTS[len(block)]
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        meter.push(frame)
    return meter.result()


def test_loudness_and_peak_of_a_calibrated_tone() -> None:
    """EBU Tech 3341, case 1: a stereo 1-kHz tone at -23 dBFS is -23 LUFS."""
    at = np.arange(48_000 * 20) / 48_000
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * at)
    found = level(np.stack([tone, tone], axis=1), 48_000, (0.0, None))
    assert found == pytest.approx((-23.0, -23.0), abs=0.1)
    assert level(np.zeros((48_000, 1)), 48_000, (0.0, None)) == (None, None)


@pytest.mark.parametrize("cut_s", [(0.0, None), (3.3337, 7.1), (5.0, None), (0.0, 3.05)])
def test_loudness_is_that_of_the_stretch_alone(cut_s: tuple[float, float | None]) -> None:
    """Against the filter over the samples of the stretch, whose loudness changes."""
    rate = 44_100
    noise = np.random.default_rng(3).normal(0, 0.05, (rate * 9, 2))
    wave = noise * (1 + np.arange(rate * 9) // (rate * 2))[:, None]
    stretch = wave[round(cut_s[0] * rate) : None if cut_s[1] is None else round(cut_s[1] * rate)]
    values = filtered(stretch, rate, "ebur128", "peak=true:metadata=1")
    loudness, peak = level(wave, rate, cut_s)
    assert loudness == pytest.approx(float(values["lavfi.r128.I"][-1]), abs=0.1)
    expected = 20 * math.log10(float(values["lavfi.r128.true_peak"][-1]))
    assert peak == pytest.approx(expected, abs=0.1)


def filtered(
    wave: NDArray[np.float64], rate: int, name: str, arguments: str
) -> dict[str, list[str]]:
    """What one of FFmpeg's filters says of (num_samples, channels)."""
    graph = av.filter.Graph()
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(wave.T, dtype=np.float32), format="fltp", layout=LAYOUTS[wave.shape[1]]
    )
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    source = graph.add_abuffer(
        sample_rate=rate, format="fltp", layout=frame.layout.name, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add(name, arguments), graph.add("abuffersink")).configure()
    source.push(frame)
    source.push(None)
    said: dict[str, list[str]] = {}
    while True:
        try:
            for key, value in graph.pull().metadata.items():
                said.setdefault(key, []).append(value)
        except (av.error.EOFError, av.error.BlockingIOError):
            return said


@pytest.mark.parametrize(("head_s", "tail_s"), [(0.5, 0.3), (1.234, 2.0), (30.0, 20.0)])
def test_silence_is_what_silencedetect_finds(tmp_path: Path, head_s: float, tail_s: float) -> None:
    """A hum below -60 dBFS counts as silence."""
    rate = 16_000
    rng = np.random.default_rng(7)
    pieces = [
        rng.normal(0, 1e-4, round(head_s * rate)),
        rng.normal(0, 0.1, 3 * rate),
        np.zeros(rate),
        rng.normal(0, 0.1, 2 * rate),
        rng.normal(0, 1e-4, round(tail_s * rate)),
    ]
    wave = np.concatenate(pieces)
    sf.write(tmp_path / "a.flac", wave, rate, subtype="PCM_16")
    found = measure(tmp_path / "a.flac")
    blocks = np.pad(wave, (0, -len(wave) % 160)).reshape(-1, 160)
    said = silences(blocks, rate)
    assert found.silence_head_s == pytest.approx(said[0][1], abs=0.05)
    length_s = len(wave) / rate
    assert found.silence_tail_s == pytest.approx(length_s - said[-1][0], abs=0.05)
    assert found.silence_ratio is not None
    total_s = sum(end_s - start_s for start_s, end_s in said)
    assert found.silence_ratio * length_s == pytest.approx(total_s, abs=0.1)


def silences(blocks: NDArray[np.float64], rate: int) -> list[tuple[float, float]]:
    """The silent stretches of a mono recording, in seconds, by FFmpeg's silencedetect."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate)
    )
    detect = graph.add("silencedetect", "noise=-60dB:duration=0.1")
    graph.link_nodes(source, detect, graph.add("abuffersink")).configure()
    starts, ends = [], []
    for number, block in enumerate([*blocks, None]):
        frame = None
        if block is not None:
            frame = av.AudioFrame.from_ndarray(
                block[None].astype(np.float32), format="flt", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, number * 160, Fraction(1, rate)
        source.push(frame)
        try:
            told = graph.pull().metadata
        except (av.error.EOFError, av.error.BlockingIOError):
            continue
        starts += [float(told["lavfi.silence_start"])] if "lavfi.silence_start" in told else []
        ends += [float(told["lavfi.silence_end"])] if "lavfi.silence_end" in told else []
    return list(zip(starts, [*ends, blocks.size / rate], strict=False))


def test_measures_of_a_clip_made_by_hand(tmp_path: Path) -> None:
    rate = 16_000
    tone = np.round(16_384 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)).astype(np.int16)
    clip = np.concatenate([np.zeros(rate // 2, np.int16), tone, np.zeros(rate // 4, np.int16)])
    clip[rate] = 32_767
    sf.write(tmp_path / "c.flac", clip, rate, subtype="PCM_16")
    found = measure(tmp_path / "c.flac")
    assert found.num_samples == len(clip)
    assert found.pcm_md5 == hashlib.md5(clip.astype("<i2").tobytes()).hexdigest()
    assert found.sha256 == hashlib.sha256((tmp_path / "c.flac").read_bytes()).hexdigest()
    assert found.silence_head_s == pytest.approx(0.5, abs=0.02)
    assert found.silence_tail_s == pytest.approx(0.25, abs=0.02)
    assert found.silence_ratio == pytest.approx(0.75 / 1.75, abs=0.02)
    assert found.clipping_ratio == pytest.approx(1 / len(clip))
    assert found.dc_offset == pytest.approx(clip.mean() / 32_768)
    assert found.bandwidth_hz == pytest.approx(1000, abs=60)


@pytest.mark.parametrize("silent", [True, False])
def test_measures_of_silence_and_of_a_fragment(tmp_path: Path, silent: bool) -> None:
    clip = np.full(7, 0 if silent else 9_000, np.int16)
    sf.write(tmp_path / "c.flac", clip, 16_000, subtype="PCM_16")
    found = measure(tmp_path / "c.flac")
    assert found.silence_ratio == (1.0 if silent else 0.0)
    assert found.silence_head_s == (7 / 16_000 if silent else 0.0)
    assert math.isfinite(found.bandwidth_hz)


def test_a_clip_of_many_blocks_is_measured_as_a_whole(tmp_path: Path) -> None:
    """Against NumPy over all its samples at once."""
    rate = 8_000
    clip = np.random.default_rng(5).normal(200, 9_000, (rate * 25 + 17, 2))
    clip = np.clip(clip, -32_768, 32_767).astype(np.int16)
    clip[: rate * 6] = clip[rate * 11 : rate * 12] = 0
    sf.write(tmp_path / "c.flac", clip, rate, subtype="PCM_16")
    found = measure(tmp_path / "c.flac")
    assert found.num_samples == len(clip)
    assert found.pcm_md5 == hashlib.md5(clip.astype("<i2").tobytes()).hexdigest()
    assert (found.silence_head_s, found.silence_tail_s) == (6.0, 0.0)
    assert found.silence_ratio == pytest.approx(7 / 25, abs=0.001)
    assert found.clipping_ratio == pytest.approx(np.mean(np.isin(clip, (32_767, -32_768))))
    assert found.dc_offset == pytest.approx(clip.mean() / 32_768)
    assert found.bandwidth_hz == pytest.approx(0.99 * rate / 2, abs=10)


def test_only_what_is_asked_for_is_measured(tmp_path: Path) -> None:
    wave = np.random.default_rng(5).normal(0, 0.1, 16_000)
    sf.write(tmp_path / "c.flac", wave, 16_000, subtype="PCM_16")
    full, basic, none = (measure(tmp_path / "c.flac", amount) for amount in AMOUNTS)
    assert basic == dataclasses.replace(full, bandwidth_hz=None)
    assert none == Measures(full.num_samples, full.sha256, full.pcm_md5)
    assert full.bandwidth_hz is not None


def test_a_file_that_is_no_clip_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "c.flac").write_text("<html>")
    with pytest.raises(AudioError, match=r"c\.flac: "):
        measure(tmp_path / "c.flac")
