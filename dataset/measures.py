"""What is measured: loudness and true peak of frames; silence, clipping, bandwidth of a clip."""

import hashlib
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from crawler.files import sha256_file
from dataset.decoding import Chain, Samples, clip_blocks, opened_clip
from dataset.fingerprint import Bands

SILENCE_DBFS = -60.0  # RMS of a frame below is silent
SILENCE_FRAME_S = 0.02
BLOCK_FRAMES = 256  # such frames at a time
SPECTRUM_LENGTH = 4096  # samples of one spectrum of the bandwidth
BANDWIDTH_SHARE = 0.99  # of the energy
QUIETEST_LUFS = -70.0  # the gate of EBU R128: at or below, there is no loudness

Amount = Literal["none", "basic", "full"]


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured on a clip's file; names as in the index, None where not asked for."""

    num_samples: int
    sha256: str
    pcm_md5: str
    silence_head_s: float | None = None
    silence_tail_s: float | None = None
    silence_ratio: float | None = None
    clipping_ratio: float | None = None
    dc_offset: float | None = None
    bandwidth_hz: float | None = None
    fingerprint: str | None = None


# --- on the source ----------------------------------------------------------------------------


class Meter:
    """Loudness and true peak of a stretch, by FFmpeg's ebur128 filter."""

    def __init__(self, start_s: float, end_s: float | None) -> None:
        self.start_s, self.end_s = start_s, end_s
        self.chain: Chain | None = None
        self.first, self.stop = 0, math.inf  # in samples of the frames
        self.ended = False  # no later frame lies inside
        self.last: deque[AudioFrame] = deque(maxlen=2)  # the filter sums up whole 0.1 s alone

    def push(self, frame: AudioFrame) -> None:
        """Measure what of a frame lies inside; its `pts` counts samples."""
        if self.chain is None:
            self.first = round(self.start_s * frame.sample_rate)
            stop = "" if self.end_s is None else f":end_pts={round(self.end_s * frame.sample_rate)}"
            self.stop = math.inf if self.end_s is None else round(self.end_s * frame.sample_rate)
            meter = ("ebur128", "peak=true:metadata=1:framelog=quiet")
            self.chain = Chain(("atrim", f"start_pts={self.first}{stop}"), meter)
        at = frame.pts or 0
        self.ended = at + frame.samples >= self.stop
        if at < self.stop and at + frame.samples > self.first:
            self.chain.push(frame)
            self.last.extend(self.chain.pull())

    def result(self) -> tuple[float | None, float | None]:
        """(loudness in LUFS, true peak in dBTP); None where there is none."""
        if self.chain is not None:
            self.last.extend(self.chain.finish())
        values = {name: value for frame in self.last for name, value in frame.metadata.items()}
        loudness = float(values.get("lavfi.r128.I", "nan"))
        peak = float(values.get("lavfi.r128.true_peak", "nan"))
        return (
            loudness if loudness > QUIETEST_LUFS else None,
            round(20 * math.log10(peak), 2) if peak > 0 else None,
        )


# --- on the clip ------------------------------------------------------------------------------


class Silence:
    """Which frames of the samples counted in are silent."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.frame = round(SILENCE_FRAME_S * sample_rate)
        self.num_samples = 0
        self.quiet: list[NDArray[np.bool_]] = []

    def count(self, block: Samples) -> None:
        """Judge one more block; all but the last hold whole frames."""
        whole = len(block) - len(block) % self.frame
        for part, frames in ((block[:whole], whole // self.frame), (block[whole:], 1)):
            if part.size:
                rows = part.reshape(frames, -1).astype(np.float32)
                power = np.einsum("ij,ij->i", rows, rows) / rows.shape[1]
                self.quiet.append(power < (32768 * 10 ** (SILENCE_DBFS / 20)) ** 2)
        self.num_samples += len(block)

    def edges(self) -> tuple[int, int]:
        """How many samples at the beginning and at the end lie in silent frames."""
        quiet = np.concatenate(self.quiet) if self.quiet else np.ones(0, dtype=np.bool_)
        if quiet.all():
            return self.num_samples, self.num_samples
        head, tail = int(np.argmin(quiet)), int(np.argmin(quiet[::-1]))
        loud = min((len(quiet) - tail) * self.frame, self.num_samples)
        return head * self.frame, self.num_samples - loud

    def ratio(self) -> float:
        """The share of silent frames."""
        return float(np.concatenate(self.quiet).mean()) if self.quiet else 1.0


def block_length(sample_rate: int) -> int:
    """Samples of a block that holds whole frames of `Silence`."""
    return round(SILENCE_FRAME_S * sample_rate) * BLOCK_FRAMES


def measure(clip: Path, amount: Amount = "full") -> Measures:
    """Measure a clip's file; AudioError (not_media) when it does not decode.

    `none` is what tells the clip from others, `basic` all but the bandwidth and the fingerprint.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    clipped = total = values = num_samples = 0
    energy = np.zeros(SPECTRUM_LENGTH // 2 + 1)
    with opened_clip(clip) as file:
        rate = file.samplerate
        silence = Silence(rate)
        bands = Bands(rate) if amount == "full" else None
        for block in clip_blocks(file, block_length(rate)):
            md5.update(block.astype("<i2", copy=False).data)
            num_samples += len(block)
            if amount != "none":
                silence.count(block)
                clipped += int(np.count_nonzero((block == 32767) | (block == -32768)))
                total += int(block.sum(dtype=np.int64))
                values += block.size
            if bands:
                energy += spectrum(block)
                bands.push(block)
    known = Measures(num_samples, sha256_file(clip), md5.hexdigest())
    if amount == "none":
        return known
    head, tail = silence.edges()
    return Measures(
        num_samples=known.num_samples,
        sha256=known.sha256,
        pcm_md5=known.pcm_md5,
        silence_head_s=head / rate,
        silence_tail_s=tail / rate,
        silence_ratio=silence.ratio(),
        clipping_ratio=clipped / max(values, 1),
        dc_offset=total / max(values, 1) / 32768,
        bandwidth_hz=bandwidth(energy, rate) if bands else None,
        fingerprint=bands.fingerprint() if bands else None,
    )


def spectrum(block: Samples) -> NDArray[np.float64]:
    """The energy of a block in each band: (SPECTRUM_LENGTH // 2 + 1,)."""
    mono = block.mean(axis=1, dtype=np.float32)
    padded = np.pad(mono, (0, -len(mono) % SPECTRUM_LENGTH)).reshape(-1, SPECTRUM_LENGTH)
    spectra = np.fft.rfft(padded * np.hanning(SPECTRUM_LENGTH).astype(np.float32))
    energy: NDArray[np.float64] = np.square(np.abs(spectra)).sum(axis=0, dtype=np.float64)
    return energy


def bandwidth(energy: NDArray[np.float64], sample_rate: int) -> float:
    """The frequency in Hz below which BANDWIDTH_SHARE of the energy lies; 0 without any."""
    total = np.cumsum(energy)
    bin_number = int(np.searchsorted(total, BANDWIDTH_SHARE * total[-1]))
    return bin_number * sample_rate / SPECTRUM_LENGTH if total[-1] else 0.0
