"""The only file that decodes: frames through FFmpeg's filters, probe, join, load_segment."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

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
from dataset.pairs import ErrorClass

TOOLS = {"av": av.__version__, "soundfile": sf.__version__}
TRUNCATED_S = 1.0  # a file that ends this much before its declared length is truncated
LOUDEST = 64.0  # floating-point samples beyond are no sound: full scale is 1
SEEK_EARLY_S = 1.0  # decode from here on and drop by timestamps: Opus needs 80 ms
BLOCK = 32_768  # samples that are worked on at a time
FRAMES = 16  # decoded frames before a block is asked for: asking costs as much as a frame
LAYOUTS = {1: "mono", 2: "stereo"}
READ_AS_THEY_ARE = (".flac", ".wav", ".opus")  # suffixes of our clips

Samples = NDArray[np.int16]  # (num_samples, channels)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a media file holds, found by decoding all of it."""

    duration_s: float
    sample_rate: int  # Hz
    channels: int
    codec: str
    chapters: tuple[tuple[str, float, float], ...]  # (title, start, end in seconds)


class AudioError(Exception):
    """A file that cannot be decoded or cut, with its class."""

    def __init__(self, error_class: ErrorClass, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


# --- frames -----------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, AudioStream]]:
    """A media file and its first audio stream; FFmpeg's refusals become AudioError."""
    try:
        with av.open(address(path), mode="r") as container:
            if not container.streams.audio:
                raise AudioError(ErrorClass.NO_AUDIO, f"{path.name} has no audio stream")
            yield container, container.streams.audio[0]
    except FileNotFoundError as error:
        raise UserError(f"no file {path}: give an audio file") from error
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(ErrorClass.NOT_MEDIA, f"{path.name}: {error}") from error


def address(path: Path) -> str:
    """A file's name for FFmpeg, which would take a colon for the end of a protocol."""
    return f"file:{path.absolute()}"


class Chain:
    """FFmpeg filters one after the other: frames are pushed in and pulled out."""

    def __init__(self, *filters: tuple[str, str]) -> None:
        self.filters = filters  # (name, arguments)
        self.graph: av.filter.Graph | None = None  # made for the first frame's form
        self.source: FilterContext
        self.sink: FilterContext

    def push(self, frame: AudioFrame) -> None:
        """Give one more frame; FFmpegError for one of another form than the first."""
        if self.graph is None:
            self.graph = av.filter.Graph()
            self.source = last = self.graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            )
            for name, arguments in (*self.filters, ("abuffersink", "")):
                following = self.graph.add(name, arguments)
                last.link_to(following)
                last = following
            self.sink = last
            self.graph.configure()
        self.source.push(frame)

    def pull(self) -> Iterator[AudioFrame]:
        """What has come out since the last call."""
        while self.graph is not None:
            try:
                yield self.sink.pull()  # type: ignore[misc]  # a graph of audio alone
            except (NothingYet, NothingMore):
                return

    def finish(self) -> Iterator[AudioFrame]:
        """Say that no frame follows, and give what is left."""
        if self.graph is not None:
            self.source.push(None)
        yield from self.pull()


def through(heard: Iterable[AudioFrame], chain: Chain, pushes: int = 1) -> Iterator[AudioFrame]:
    """What comes out of a chain, looked for after so many frames."""
    for number, frame in enumerate(heard, start=1):
        chain.push(frame)
        if number % pushes == 0:
            yield from chain.pull()
    yield from chain.finish()


def frames(
    container: InputContainer, stream: AudioStream, from_s: float = 0.0
) -> Iterator[AudioFrame]:
    """Decoded audio in frames of BLOCK samples, after a seek to before `from_s` if worth it.

    `pts` counts the source's samples from the player's zero, without gaps after the first one.
    AudioError (not_media) for samples that are no numbers or beyond all sound: 16 bits would hide
    them.
    """
    if from_s > SEEK_EARLY_S:
        target = from_s - SEEK_EARLY_S + zero_s(container)
        container.seek(int(target * av.time_base))
    decoded = (frame for frame in container.decode(stream) if frame.samples)
    at: int | None = None
    for block in through(decoded, Chain(("asetnsamples", f"n={BLOCK}:p=0")), FRAMES):
        if at is None:
            at = round(frame_s(container, block) * block.sample_rate)
        if block.format.name.startswith(("flt", "dbl")):
            refuse_no_sound(np.asarray(block.to_ndarray()), Path(container.name).name)
        block.pts, block.time_base = at, Fraction(1, block.sample_rate)
        at += block.samples
        yield block


def zero_s(container: InputContainer) -> float:
    """The timestamp at which a player starts to count, in seconds."""
    return (container.start_time or 0) / av.time_base


def frame_s(container: InputContainer, frame: AudioFrame) -> float:
    """When a frame begins, in seconds of the player's count."""
    return 0.0 if frame.time is None else frame.time - zero_s(container)


def first_s(container: InputContainer, stream: AudioStream) -> float:
    """When the first frame begins; 0 without any."""
    for frame in container.decode(stream):
        if frame.samples:
            return frame_s(container, frame)
    return 0.0


def refuse_no_sound(samples: NDArray[Any], name: str) -> None:
    """AudioError (not_media) when floating-point samples are not finite or beyond LOUDEST."""
    if samples.size and not max(samples.max(), -samples.min()) <= LOUDEST:
        message = f"{name} has samples that are no numbers or beyond {LOUDEST:g} of full scale"
        raise AudioError(ErrorClass.NOT_MEDIA, message)


def resampled(
    heard: Iterable[AudioFrame], sample_rate: int, channels: int
) -> Iterator[tuple[int, Samples]]:
    """Frames as 16-bit samples: (index of the first one in the player's count, samples).

    Blocks follow each other without gap from the first frame's time on.
    """
    chain = Chain(resampler(sample_rate, channels), ("asetnsamples", f"n={BLOCK}:p=0"))
    at: int | None = None

    def noted() -> Iterator[AudioFrame]:
        nonlocal at
        for frame in heard:
            if at is None:
                at = round((frame.pts or 0) * sample_rate / frame.sample_rate)
            yield frame

    for block in through(noted(), chain):
        samples = np.asarray(block.to_ndarray(), dtype=np.int16).reshape(-1, channels)
        assert at is not None, "samples before the first frame"
        yield at, samples
        at += len(samples)


def resampler(sample_rate: int, channels: int) -> tuple[str, str]:
    """FFmpeg's filter that gives 16-bit samples: (name, arguments)."""
    return "aresample", f"{sample_rate}:out_chlayout={LAYOUTS[channels]}:out_sample_fmt=s16"


def as_frame(
    samples: Samples, sample_rate: int, at: int = 0, layout: str | None = None
) -> AudioFrame:
    """Samples as a frame whose `pts` is `at`."""
    packed = np.ascontiguousarray(samples).reshape(1, -1)
    layout = layout or LAYOUTS[samples.shape[1]]
    frame = AudioFrame.from_ndarray(packed, format="s16", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, at, Fraction(1, sample_rate)
    return frame


# --- whole files ------------------------------------------------------------------------------


def probe(path: Path) -> Probe:
    """Decode the whole file and say what it holds.

    Raises AudioError: not_media for what does not decode or has samples that are no numbers,
    no_audio without a sample, network for a file that ends before its declared length.
    """
    with opened(path) as (container, stream):
        seconds = sum(frame.samples / frame.sample_rate for frame in frames(container, stream))
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
                for _, samples in resampled(heard, sample_rate, channels):
                    file.write(samples)


@contextmanager
def opened_clip(path: Path) -> Iterator[sf.SoundFile]:
    """A clip as libsndfile reads it: FLAC, WAV or Opus; AudioError (not_media) for others."""
    try:
        with sf.SoundFile(path) as file:
            yield file
    except sf.LibsndfileError as error:
        raise AudioError(ErrorClass.NOT_MEDIA, f"{path.name}: {error}") from error


def clip_blocks(file: sf.SoundFile, length: int = BLOCK) -> Iterator[Samples]:
    """The samples of an opened clip from where it stands, `length` at a time."""
    while len(block := file.read(length, dtype="int16", always_2d=True)):
        yield block


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
    """The stretch of a clip of this sample rate; None for anything else."""
    if path.suffix not in READ_AS_THEY_ARE or not path.is_file():
        return None
    with opened_clip(path) as file:
        if file.samplerate != sample_rate or first > file.frames:
            return None
        file.seek(first)
        frames_left = -1 if stop is None else stop - first
        samples = file.read(frames_left, dtype="float32", always_2d=True)
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
        for at, samples in resampled(heard, sample_rate, channels=1):
            low, high = max(first - at, 0), len(samples) if stop is None else stop - at
            found.append(samples[low : max(high, 0), 0])
            if high <= len(samples) and stop is not None:
                break
    return np.concatenate(found).astype(np.float32) / np.float32(32768)
