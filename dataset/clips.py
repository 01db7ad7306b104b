"""What a clip is to be: its settings, its stretch of the source, and how its file is written."""

import errno
import importlib.util
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import av
import soundfile as sf

from crawler.errors import UserError
from dataset.decoding import LAYOUTS, Samples, address, as_frame

CUTTING_VERSION = 1  # raise when the same settings give other samples
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)  # Hz
LIMITS = {  # setting -> lowest, highest, unit
    "sample_rate": (8_000, 192_000, "Hz"),
    "trim_silence_s": (0.0, 60.0, "s"),
    "fade_s": (0.0, 60.0, "s"),
    "loudness_lufs": (-50.0, -5.0, "LUFS"),
}

FULL_BYTES = 2**20  # a disk with less left is full

Write = Callable[[Samples], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutConfig:
    """The form of the clips; every field is part of their fingerprint."""

    backend: Literal["pyav", "ffmpeg", "pydub"] = "pyav"  # what decodes; pyav is always there
    sample_rate: int = 16_000  # Hz
    channels: Literal[1, 2] = 1
    codec: Literal["flac", "opus", "wav"] = "flac"  # 16 bits
    trim_silence_s: float | None = None  # silence left at the edges; None = all of it
    fade_s: float = 0.0  # at both edges
    loudness_lufs: float | None = None  # what a clip's loudness becomes; None = as it is

    def __post_init__(self) -> None:
        for name, (lowest, highest, unit) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                limits = f"{lowest:g}..{highest:g} {unit}"
                raise UserError(f"fetch.cut.{name} {value} is not in {limits}")
        if self.codec == "opus" and self.sample_rate not in OPUS_RATES:
            rates = ", ".join(map(str, OPUS_RATES))
            raise UserError(f"fetch.cut.sample_rate {self.sample_rate}: Opus has one of {rates} Hz")
        lacking = lacks(self.backend)
        if lacking:
            raise UserError(f"fetch.cut.backend {self.backend!r} lacks {lacking}, or choose 'pyav'")

    @property
    def shapes(self) -> bool:
        """Whether a clip is made of the whole piece that was cut, after it."""
        trimmed = self.trim_silence_s is not None
        return trimmed or self.fade_s > 0 or self.loudness_lufs is not None


def lacks(backend: str) -> str:
    """What has to be installed for a backend, or nothing."""
    if backend == "pydub" and importlib.util.find_spec("pydub") is None:
        return "the package pydub: pip install 'earscribe[pydub]'"
    if backend != "pyav" and shutil.which("ffmpeg") is None:
        return "the command ffmpeg: install it so that it is on the PATH"
    return ""


class Span(NamedTuple):
    """A stretch of a source."""

    start_s: float
    end_s: float | None  # None = to the end

    def bounds(self, sample_rate: int) -> tuple[int, float]:
        """(first sample, the one after the last or infinity): neighbours share a border."""
        stop = math.inf if self.end_s is None else round(self.end_s * sample_rate)
        return round(self.start_s * sample_rate), stop

    def borders_s(self, sample_rate: int) -> tuple[float, float | None]:
        """The same in seconds; None = to the end."""
        first, stop = self.bounds(sample_rate)
        return first / sample_rate, None if self.end_s is None else stop / sample_rate


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip as cut: where it lies in its source, and the source's level in the span asked for."""

    actual_start_s: float
    actual_end_s: float
    loudness_lufs: float | None  # None = silent, below 0.4 s or not measured
    true_peak_dbtp: float | None


@contextmanager
def writing(target: Path, codec: str, sample_rate: int, channels: int) -> Iterator[Write]:
    """A function that appends samples to a new file; OSError when the disk does not take them."""
    if codec == "opus":
        with writing_opus(target, sample_rate, channels) as write:
            yield write
        return
    form = {"subtype": "PCM_16", "format": codec.upper()}
    try:
        with sf.SoundFile(target, "w", sample_rate, channels, **form) as file:
            yield file.write
    except sf.LibsndfileError as error:  # which does not say why
        full = shutil.disk_usage(target.parent).free < FULL_BYTES
        raise OSError(errno.ENOSPC if full else errno.EIO, f"{target.name}: {error}") from error


@contextmanager
def writing_opus(target: Path, sample_rate: int, channels: int) -> Iterator[Write]:
    """The same for Opus in Ogg, by FFmpeg: libsndfile cannot set how much the encoder tries."""
    options = {"fflags": "+bitexact"}  # or the file would have a number of its own each time
    with av.open(address(target), "w", format="ogg", container_options=options) as container:
        stream = container.add_stream(
            "libopus",
            rate=sample_rate,
            layout=LAYOUTS[channels],
            options={"compression_level": "0"},
        )
        at = 0

        def write(samples: Samples) -> None:
            nonlocal at
            container.mux(stream.encode(as_frame(samples, sample_rate, at)))
            at += len(samples)

        yield write
        container.mux(stream.encode(None))
