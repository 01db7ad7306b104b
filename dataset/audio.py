"""The only file that decodes: probe, join, cut, measure, load_segment."""

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import soundfile as sf
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as NothingMore
from av.filter.context import FilterContext
from numpy.typing import NDArray

from crawler.errors import UserError
from crawler.files import sha256_file
from dataset.schema import ErrorClass

TOOLS = {"av": av.__version__, "soundfile": sf.__version__}
CUTTING_VERSION = 1  # raise when the same settings give other samples
SILENCE_DBFS = -60.0  # RMS of a frame below is silent
SILENCE_FRAME_S = 0.02
SPECTRUM_LENGTH = 4096  # samples of one spectrum of the bandwidth
SPECTRUM_BATCH = 256  # spectra at a time: bounds the memory
BANDWIDTH_SHARE = 0.99  # of the energy
TRUNCATED_S = 1.0  # a file that ends this much before its declared length is truncated
LOUDEST = 64.0  # floating-point samples beyond are no sound: full scale is 1
SEEK_EARLY_S = 1.0  # decode from here on and drop by timestamps: Opus needs 80 ms
QUIETEST_LUFS = -70.0  # the gate of EBU R128: at or below, there is no loudness

Samples = NDArray[np.int16]  # (num_samples, channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutConfig:
    """The form of the clips; every field is part of their fingerprint."""

    sample_rate: int = 16_000  # Hz
    channels: Literal[1, 2] = 1
    codec: Literal["flac", "wav"] = "flac"  # 16 bits

    def __post_init__(self) -> None:
        if not 8_000 <= self.sample_rate <= 192_000:
            raise UserError(f"fetch.cut.sample_rate {self.sample_rate} is not in 8000..192000 Hz")


@dataclass(frozen=True, slots=True)
class Probe:
    """What a media file holds, found by decoding all of it."""

    duration_s: float
    sample_rate: int  # Hz
    channels: int
    codec: str
    chapters: tuple[tuple[str, float, float], ...]  # (title, start, end in seconds)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a source."""

    start_s: float
    end_s: float | None  # None = to the end


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip as cut: where it lies in its source, and the source's level there."""

    actual_start_s: float
    actual_end_s: float
    loudness_lufs: float | None  # None = silent or below 0.4 s
    true_peak_dbtp: float | None


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured on a clip's file; names as in the index."""

    num_samples: int
    sha256: str
    pcm_md5: str
    silence_head_s: float
    silence_tail_s: float
    silence_ratio: float
    clipping_ratio: float
    dc_offset: float
    bandwidth_hz: float
    fingerprint: str | None = None


class AudioError(Exception):
    """A file that cannot be decoded or cut, with its class."""

    def __init__(self, error_class: ErrorClass, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


# --- decoding ---------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, AudioStream]]:
    """A media file and its first audio stream; FFmpeg's refusals become AudioError."""
    try:
        address = f"file:{path.absolute()}"  # or FFmpeg takes a colon for the end of a protocol
        with av.open(address, mode="r") as container:
            if not container.streams.audio:
                raise AudioError(ErrorClass.NO_AUDIO, f"{path.name} has no audio stream")
            yield container, container.streams.audio[0]
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: give an audio file") from error
    except (av.FFmpegError, ValueError) as error:  # ValueError: the format changes midway
        raise AudioError(ErrorClass.NOT_MEDIA, f"{path.name}: {error}") from error


def zero_s(container: InputContainer) -> float:
    """The timestamp at which a player starts to count, in seconds."""
    return (container.start_time or 0) / av.time_base


def resampled(
    container: InputContainer, heard: Iterable[AudioFrame], sample_rate: int, channels: int
) -> Iterator[tuple[int, Samples]]:
    """Frames as 16-bit samples: (index of the first one in the player's count, samples).

    Blocks follow each other without gap from the first frame's time on.
    """
    layout = "mono" if channels == 1 else "stereo"
    resampler = av.AudioResampler(format="s16", layout=layout, rate=sample_rate)
    at: int | None = None
    for frame in itertools.chain(heard, (None,)):  # None flushes
        if at is None:
            at = 0 if frame is None else round(frame_s(container, frame) * sample_rate)
        for block in resampler.resample(frame):
            samples = np.asarray(block.to_ndarray()).astype(np.int16, copy=False)
            samples = samples.reshape(-1, channels)
            yield at, samples
            at += len(samples)


def frames(
    container: InputContainer, stream: AudioStream, from_s: float = 0.0
) -> Iterator[AudioFrame]:
    """Decoded frames, after a seek to before `from_s` where one is worth it.

    AudioError (not_media) for samples that are no numbers or beyond all sound: 16 bits would hide
    them.
    """
    if from_s > SEEK_EARLY_S:
        target = from_s - SEEK_EARLY_S + zero_s(container)
        container.seek(int(target * av.time_base))
    for frame in container.decode(stream):
        if frame.samples:
            refuse_no_sound(np.asarray(frame.to_ndarray()), Path(container.name).name)
            yield frame


def refuse_no_sound(samples: NDArray[Any], name: str) -> None:
    """AudioError (not_media) when floating-point samples are not finite or beyond LOUDEST."""
    if samples.dtype.kind == "f" and samples.size and not np.abs(samples).max() <= LOUDEST:
        message = f"{name} has samples that are no numbers or beyond {LOUDEST:g} of full scale"
        raise AudioError(ErrorClass.NOT_MEDIA, message)


def frame_s(container: InputContainer, frame: AudioFrame) -> float:
    """When a frame begins, in seconds of the player's count."""
    return 0.0 if frame.time is None else frame.time - zero_s(container)


def probe(path: Path) -> Probe:
    """Decode the whole file and say what it holds.

    Raises AudioError: not_media for what does not decode or has samples that are no numbers,
    no_audio without a sample, network for a file that ends before its declared length.
    """
    with opened(path) as (container, stream):
        seconds = 0.0
        for frame in frames(container, stream):
            seconds += frame.samples / frame.sample_rate
        if not seconds:
            raise AudioError(ErrorClass.NO_AUDIO, f"{path.name} decodes to no sample")
        declared_s = (container.duration or 0) / av.time_base
        if declared_s - zero_s(container) - seconds > TRUNCATED_S:
            raise AudioError(
                ErrorClass.NETWORK,
                f"{path.name} is truncated: {seconds:.1f} s of {declared_s:.1f} s decode",
            )
        codec = stream.codec_context
        titles = chapters(container)
        return Probe(seconds, codec.sample_rate, codec.channels, codec.name, titles)


def chapters(container: InputContainer) -> tuple[tuple[str, float, float], ...]:
    """The chapters written in a file."""
    return tuple(
        (
            chapter["metadata"].get("title", ""),
            float(chapter["start"] * (chapter["time_base"] or Fraction(1))),
            float(chapter["end"] * (chapter["time_base"] or Fraction(1))),
        )
        for chapter in container.chapters()
    )


def join(sources: Sequence[Path], target: Path, sample_rate: int, channels: int) -> None:
    """Decode files one after another into one FLAC file of 16 bits.

    Raises AudioError when one does not decode.
    """
    with sf.SoundFile(
        target, "w", samplerate=sample_rate, channels=channels, format="FLAC", subtype="PCM_16"
    ) as file:
        for source in sources:
            with opened(source) as (container, stream):
                heard = frames(container, stream)
                for _, samples in resampled(container, heard, sample_rate, channels):
                    file.write(samples)


# --- cutting ----------------------------------------------------------------------------------


class Level:
    """Loudness and true peak of the frames pushed in, by FFmpeg's ebur128 filter."""

    def __init__(self) -> None:
        self.graph: av.filter.Graph | None = None
        self.source: FilterContext
        self.sink: FilterContext
        self.values: dict[str, str] = {}

    def push(self, frame: AudioFrame) -> None:
        """Measure one more frame."""
        if self.graph is None:
            self.graph = av.filter.Graph()
            self.source = self.graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            )
            meter = self.graph.add("ebur128", "peak=true:metadata=1:framelog=quiet")
            self.sink = self.graph.add("abuffersink")
            self.source.link_to(meter)
            meter.link_to(self.sink)
            self.graph.configure()
        self.source.push(frame)
        self.read()

    def read(self) -> None:
        """Keep the last values that the filter gave."""
        while True:
            try:
                self.values = self.sink.pull().metadata or self.values
            except (NothingYet, NothingMore):
                return

    def result(self) -> tuple[float | None, float | None]:
        """(loudness in LUFS, true peak in dBTP); None where there is none."""
        if self.graph is not None:
            self.source.push(None)
            self.read()
        loudness = float(self.values.get("lavfi.r128.I", "nan"))
        peak = float(self.values.get("lavfi.r128.true_peak", "nan"))
        return (
            loudness if loudness > QUIETEST_LUFS else None,
            round(20 * math.log10(peak), 2) if peak > 0 else None,
        )


class Clip:
    """One clip while it is cut."""

    def __init__(self, span: Span, target: Path, config: CutConfig) -> None:
        self.rate = config.sample_rate
        self.first = round(span.start_s * self.rate)  # on the grid: neighbours share a border
        self.stop = math.inf if span.end_s is None else round(span.end_s * self.rate)
        self.span = span
        self.written = 0
        self.level = Level()
        self.file = sf.SoundFile(
            target,
            "w",
            samplerate=self.rate,
            channels=config.channels,
            format=config.codec.upper(),
            subtype="PCM_16",
        )

    def take(self, at: int, samples: Samples) -> None:
        """Write the part of a block that is inside."""
        low = max(self.first - at, 0)
        high = int(min(self.stop - at, len(samples)))
        if low < high:
            self.file.write(samples[low:high])
            self.written += high - low

    def hear(self, start_s: float, frame: AudioFrame) -> None:
        """Measure a frame that is inside by more than half."""
        middle_s = start_s + frame.samples / frame.sample_rate / 2
        if self.first <= middle_s * self.rate < self.stop:
            self.level.push(frame)

    def done(self) -> Cut:
        """Close the file and say what was cut; AudioError when there was nothing."""
        self.file.close()
        if not self.written:
            message = f"nothing between {self.span.start_s} s and {self.span.end_s} s"
            raise AudioError(ErrorClass.BAD_BOUNDS, message)
        loudness, peak = self.level.result()
        start_s = self.first / self.rate
        return Cut(start_s, start_s + self.written / self.rate, loudness, peak)


def cut(
    source: Path, spans: Sequence[Span], targets: Sequence[Path], config: CutConfig
) -> list[Cut | AudioError]:
    """Cut every span of `source` into its target in one decode pass, in 16-bit samples.

    A span's borders are rounded to the sample, so that neighbours neither overlap nor lose one.
    A span without music gives an AudioError in its place; raises AudioError when the source
    does not decode.
    """
    clips = [Clip(span, target, config) for span, target in zip(spans, targets, strict=True)]
    try:
        with opened(source) as (container, stream):
            feed(container, stream, clips, config)
    finally:
        for clip in clips:
            clip.file.close()
    return [result(clip) for clip in clips]


def feed(
    container: InputContainer, stream: AudioStream, clips: Sequence[Clip], config: CutConfig
) -> None:
    """Give every decoded frame to the meters and every resampled block to the files."""
    stop = max(clip.stop for clip in clips)

    def heard() -> Iterator[AudioFrame]:
        for frame in frames(container, stream):
            start_s = frame_s(container, frame)
            for clip in clips:
                clip.hear(start_s, frame)
            yield frame

    for at, samples in resampled(container, heard(), config.sample_rate, config.channels):
        for clip in clips:
            clip.take(at, samples)
        if at >= stop:
            return


def result(clip: Clip) -> Cut | AudioError:
    """What became of one clip."""
    try:
        return clip.done()
    except AudioError as error:
        return error


# --- measuring and reading --------------------------------------------------------------------


def measure(clip: Path) -> Measures:
    """Measure a clip's file; AudioError (not_media) when it does not decode."""
    try:
        samples, sample_rate = sf.read(clip, dtype="int16", always_2d=True)
    except sf.LibsndfileError as error:
        raise AudioError(ErrorClass.NOT_MEDIA, f"{clip.name}: {error}") from error
    head_s, tail_s, ratio = silence(samples, sample_rate)
    return Measures(
        num_samples=len(samples),
        sha256=sha256_file(clip),
        pcm_md5=hashlib.md5(samples.astype("<i2").tobytes(), usedforsecurity=False).hexdigest(),
        silence_head_s=head_s,
        silence_tail_s=tail_s,
        silence_ratio=ratio,
        clipping_ratio=float(np.mean((samples == 32767) | (samples == -32768))),
        dc_offset=float(np.mean(samples, dtype=np.float64) / 32768),
        bandwidth_hz=bandwidth(samples.mean(axis=1), sample_rate),
    )


def silence(samples: Samples, sample_rate: int) -> tuple[float, float, float]:
    """(silent seconds at the beginning, at the end, share of silent frames)."""
    frame = round(SILENCE_FRAME_S * sample_rate)
    starts = np.arange(0, len(samples), frame)
    power = np.add.reduceat(np.square(samples, dtype=np.float64).mean(axis=1), starts)
    lengths = np.diff(np.append(starts, len(samples)))
    quiet = power / lengths < (32768 * 10 ** (SILENCE_DBFS / 20)) ** 2
    if quiet.all():
        whole_s = len(samples) / sample_rate
        return whole_s, whole_s, 1.0
    head, tail = int(np.argmin(quiet)), int(np.argmin(quiet[::-1]))
    tail_samples = int(lengths[len(lengths) - tail :].sum())
    return head * frame / sample_rate, tail_samples / sample_rate, float(quiet.mean())


def bandwidth(mono: NDArray[np.float64], sample_rate: int) -> float:
    """The frequency in Hz below which BANDWIDTH_SHARE of the energy lies."""
    padded = np.pad(mono, (0, -len(mono) % SPECTRUM_LENGTH)).reshape(-1, SPECTRUM_LENGTH)
    energy = np.zeros(SPECTRUM_LENGTH // 2 + 1)
    window = np.hanning(SPECTRUM_LENGTH)
    for start in range(0, len(padded), SPECTRUM_BATCH):
        spectra = np.fft.rfft(padded[start : start + SPECTRUM_BATCH] * window)
        energy += np.square(np.abs(spectra)).sum(axis=0)
    total = np.cumsum(energy)
    bin_number = int(np.searchsorted(total, BANDWIDTH_SHARE * total[-1]))
    return bin_number * sample_rate / SPECTRUM_LENGTH if total[-1] else 0.0


def load_segment(
    path: Path, *, sample_rate: int, start_s: float = 0.0, duration_s: float | None = None
) -> NDArray[np.float32]:
    """A stretch of any media file as mono samples in -1..1: (num_samples,), float32.

    `duration_s=None` reads to the end; what lies beyond it is left out. Raises UserError for a
    missing file, AudioError for one that does not decode, has nothing there or is no sound.
    """
    first = round(start_s * sample_rate)
    stop = None if duration_s is None else first + round(duration_s * sample_rate)
    segment = read_clip(path, sample_rate, first, stop)
    if segment is None:
        segment = decode_segment(path, sample_rate, first, stop)
    if not len(segment):
        raise AudioError(ErrorClass.BAD_BOUNDS, f"{path.name} has nothing from {start_s} s on")
    return segment


def read_clip(
    path: Path, sample_rate: int, first: int, stop: int | None
) -> NDArray[np.float32] | None:
    """The stretch of a FLAC or WAV file of this sample rate; None for anything else."""
    if path.suffix not in (".flac", ".wav") or not path.is_file():
        return None
    try:
        with sf.SoundFile(path) as file:
            if file.samplerate != sample_rate or first > file.frames:
                return None
            file.seek(first)
            frames_left = -1 if stop is None else stop - first
            samples = file.read(frames_left, dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise AudioError(ErrorClass.NOT_MEDIA, f"{path.name}: {error}") from error
    refuse_no_sound(samples, path.name)
    mono: NDArray[np.float32] = samples.mean(axis=1)
    return mono


def decode_segment(
    path: Path, sample_rate: int, first: int, stop: int | None
) -> NDArray[np.float32]:
    """The stretch by decoding, after a seek to a little before it."""
    found = [np.zeros(0, dtype=np.int16)]
    with opened(path) as (container, stream):
        heard = frames(container, stream, first / sample_rate)
        for at, samples in resampled(container, heard, sample_rate, channels=1):
            low, high = max(first - at, 0), len(samples) if stop is None else stop - at
            found.append(samples[low : max(high, 0), 0])
            if high <= len(samples) and stop is not None:
                break
    return np.concatenate(found).astype(np.float32) / np.float32(32768)
