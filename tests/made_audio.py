"""Recordings made up for the tests: a quiet sweep with a loud click every 1.01 s."""

import itertools
import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

FRAME_S = 0.025  # one codec frame
CODECS = {
    "a.webm": ("libopus", 48_000),
    "a.m4a": ("aac", 44_100),
    "a.ogg": ("libopus", 48_000),
    "a.mp3": ("libmp3lame", 44_100),
    "a.flac": ("flac", 44_100),
    "a.wav": ("pcm_s16le", 44_100),
}
LENGTH_S = 12
Wave = NDArray[np.float32]


def clicks(seconds: int, rate: int) -> Wave:
    """A 10-ms tone every 1.01 s, so that its place in a second tells which: (2, num_samples)."""
    at = np.arange(seconds * rate) / rate
    wave = (0.05 * np.sin(2 * np.pi * (200 + 300 * at / seconds) * at)).astype(np.float32)
    burst = np.arange(rate // 100) / rate
    for second in range(seconds):
        first = round(second * 1.01 * rate)
        wave[first : first + len(burst)] = 0.8 * np.sin(2 * np.pi * 1000 * burst)
    return np.stack([wave, wave])


def encode(path: Path, codec: str, wave: Wave, rate: int) -> None:
    """Write a stereo recording."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fits = av.AudioResampler(format=stream.codec_context.format.name)
        for piece in fits.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def make_media(folder: Path) -> Path:
    """One recording in every container."""
    for name, (codec, rate) in CODECS.items():
        encode(folder / name, codec, clicks(LENGTH_S, rate), rate)
    return folder


def onsets_s(samples: NDArray[np.float32], rate: int) -> list[float]:
    """When each click begins."""
    loud = np.flatnonzero(np.abs(samples) > 0.15)
    return [
        loud[0] / rate,
        *(b / rate for a, b in itertools.pairwise(loud) if b - a > 4000),
    ]


def put_ffmpeg_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of this machine, or the one of imageio-ffmpeg; without either the test skips."""
    if shutil.which("ffmpeg") is None:
        package = pytest.importorskip("imageio_ffmpeg", reason="there is no ffmpeg command")
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / "ffmpeg").symlink_to(package.get_ffmpeg_exe())
        monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
