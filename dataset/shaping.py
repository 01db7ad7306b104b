"""A piece as cut -> the clip: silence trimmed, loudness set, edges faded, encoded."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset.clips import CutConfig, writing
from dataset.decoding import AudioError, Samples, as_frame, clip_blocks, opened_clip
from dataset.measures import Meter, Silence, block_length
from dataset.pairs import ErrorClass

HIGHEST_DBTP = -1.05  # no gain raises a true peak above: below -1 also as 16 bits


def shape(piece: Path, target: Path, config: CutConfig) -> tuple[int, int]:
    """Write the clip of a piece; returns which of its samples are in it: (first, stop).

    AudioError (no_audio) when silence is to be trimmed and there is nothing else.
    """
    first, stop = music(piece, config)
    gain = 1.0
    if config.loudness_lufs is not None:
        gain = gain_of(piece, first, stop, config.loudness_lufs)
    fade = min(round(config.fade_s * config.sample_rate), (stop - first) // 2)
    with writing(target, config.codec, config.sample_rate, config.channels) as write:
        for at, block in stretch(piece, first, stop):
            factors = gain * faded(at, len(block), stop - first, fade)
            scaled = block if np.all(factors == 1) else np.rint(block * factors[:, None])
            write(np.clip(scaled, -32768, 32767).astype(np.int16))
    return first, stop


def stretch(piece: Path, first: int, stop: int) -> Iterator[tuple[int, Samples]]:
    """The samples first..stop of a piece: (how many came before, samples)."""
    at = 0
    with opened_clip(piece) as file:
        file.seek(first)
        for block in clip_blocks(file):
            if at >= stop - first:
                return
            yield at, block[: stop - first - at]
            at += len(block)


def music(piece: Path, config: CutConfig) -> tuple[int, int]:
    """What is left of a piece without the silence at its edges, but for the margin."""
    with opened_clip(piece) as file:
        if config.trim_silence_s is None:
            return 0, file.frames
        silence = Silence(config.sample_rate)
        for block in clip_blocks(file, block_length(config.sample_rate)):
            silence.count(block)
    head, tail = silence.edges()
    if head == silence.num_samples:
        raise AudioError(ErrorClass.NO_AUDIO, f"all {head / config.sample_rate:g} s are silent")
    margin = round(config.trim_silence_s * config.sample_rate)
    return max(head - margin, 0), silence.num_samples - max(tail - margin, 0)


def gain_of(piece: Path, first: int, stop: int, loudness_lufs: float) -> float:
    """The factor to a loudness, as far as the peaks allow; 1 where there is no loudness.

    Both are the piece's own: a downmix is quieter than its source.
    """
    meter = Meter(0.0, None)
    with opened_clip(piece) as file:
        sample_rate, channels = file.samplerate, file.channels
    for at, block in stretch(piece, first, stop):
        meter.push(as_frame(block, sample_rate, at))
    rest = np.zeros((sample_rate // 10, channels), np.int16)  # whole 0.1 s are measured
    meter.push(as_frame(rest, sample_rate, stop - first))
    found_lufs, peak_dbtp = meter.result()
    if found_lufs is None or peak_dbtp is None:
        return 1.0
    gain_db = min(loudness_lufs - found_lufs, HIGHEST_DBTP - peak_dbtp)
    return float(math.pow(10, gain_db / 20))


def faded(at: int, length: int, whole: int, fade: int) -> NDArray[np.float64]:
    """The factors of a fade in and out over `fade` samples, of a block of a clip: (length,)."""
    if not fade:
        return np.ones(length)
    places = np.arange(at, at + length) + 0.5
    factors: NDArray[np.float64] = np.minimum(places, whole - places) / fade
    return np.clip(factors, 0.0, 1.0)
