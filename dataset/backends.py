"""A source as 16-bit samples, decoded by PyAV, by the ffmpeg command or by pydub.

Each decodes from the beginning. After a seek AAC's noise is another and WebM's times are known to
the millisecond alone: a clip would depend on what is cut with it.
"""

import importlib.metadata
import re
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame

from dataset.clips import CutConfig
from dataset.decoding import (
    BLOCK,
    TOOLS,
    AudioError,
    Samples,
    address,
    as_frame,
    first_s,
    frames,
    opened,
    resampled,
    resampler,
)
from dataset.measures import Meter
from dataset.pairs import ErrorClass
from dataset.workers import CRASHES

Blocks = Generator[tuple[int, Samples]]  # (index in the player's count, samples) without gaps
RETURNED = re.compile(r"error code: (-?\d+)")  # as pydub says it
FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-filter_threads", "1")


@cache
def tools(backend: str) -> Mapping[str, str]:
    """The versions of what a backend works with."""
    found = dict(TOOLS)
    if backend != "pyav":
        done = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False)
        found["ffmpeg"] = (done.stdout.split() or ["?", "?", "unknown"])[2]
    if backend == "pydub":
        found["pydub"] = importlib.metadata.version("pydub")
    return found


def decode(source: Path, config: CutConfig, meters: Sequence[Meter]) -> Blocks:
    """The source by the backend of the settings; `meters` hear it as it was before 16 bits."""
    if config.backend == "pyav":
        return by_pyav(source, config, meters)
    listen(source, meters)
    return {"ffmpeg": by_ffmpeg, "pydub": by_pydub}[config.backend](source, config)


def by_pyav(source: Path, config: CutConfig, meters: Sequence[Meter]) -> Blocks:
    """In this process, with the FFmpeg that PyAV brings."""
    with opened(source) as (container, stream):
        heard = metered(frames(container, stream), meters)
        yield from resampled(heard, config.sample_rate, config.channels)


def by_ffmpeg(source: Path, config: CutConfig) -> Blocks:
    """By the command, in the caller's process group, with the same filter as in this process."""
    rate, channels = config.sample_rate, config.channels
    form = ["-map", "0:a:0", "-af", "=".join(resampler(rate, channels))]
    command = [*FFMPEG, "-i", address(source), *form, "-sample_fmt", "s16", "-f", "s16le", "pipe:"]
    with opened(source) as (container, stream):
        at = round(first_s(container, stream) * rate)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as child,
    ):
        assert child.stdout, "no pipe"
        try:
            while body := child.stdout.read(BLOCK * channels * 2):
                whole = len(body) - len(body) % (channels * 2)  # a killed one may end midway
                samples = np.frombuffer(body[:whole], dtype="<i2").reshape(-1, channels)
                yield at, samples
                at += len(samples)
        except GeneratorExit:  # the spans end before the source
            child.kill()
            raise
        if child.wait() != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or ["no reason"]
            raise ended(source, "ffmpeg", child.returncode, said[-1])


def ended(source: Path, name: str, code: int, said: str) -> AudioError:
    """The failure of a command: of its file, unless somebody killed it."""
    known = -code in set(signal.Signals)
    killed = signal.Signals(-code).name if known else ""
    if not killed or killed in CRASHES:
        return AudioError(ErrorClass.NOT_MEDIA, f"{source.name}: {name}: {killed or said}")
    return AudioError(ErrorClass.EXTRACTOR, f"{source.name}: {name} was killed by {killed}")


def by_pydub(source: Path, config: CutConfig) -> Blocks:
    """By pydub, which holds the whole source in memory, several times."""
    yield from resampled(pydub_frames(source), config.sample_rate, config.channels)


def pydub_frames(source: Path) -> Iterator[AudioFrame]:
    """A source as pydub decodes it, with the layout and the first time that PyAV finds."""
    with opened(source) as (container, stream):
        codec, layout = stream.codec_context.name, stream.layout.name
        at = round(first_s(container, stream) * stream.sample_rate)
    pydub = importlib.import_module("pydub")
    try:  # a known codec, or it asks ffprobe, which may be missing
        segment = pydub.AudioSegment.from_file(str(source.absolute()), codec=codec)
    except pydub.exceptions.CouldntDecodeError as error:
        code = RETURNED.search(str(error))
        said = str(error).strip().splitlines()[-1]
        raise ended(source, "pydub", int(code[1]) if code else 1, said) from error
    samples = np.frombuffer(segment.set_sample_width(2).raw_data, dtype=np.int16)
    samples = samples.reshape(-1, segment.channels)
    for start in range(0, len(samples), BLOCK):
        yield as_frame(samples[start : start + BLOCK], segment.frame_rate, at + start, layout)


def metered(heard: Iterable[AudioFrame], meters: Sequence[Meter]) -> Iterator[AudioFrame]:
    """Frames, each shown to every meter."""
    for frame in heard:
        for meter in meters:
            meter.push(frame)
        yield frame


def listen(source: Path, meters: Sequence[Meter]) -> None:
    """Decode for the meters alone."""
    if not meters:
        return
    with opened(source) as (container, stream):
        for _ in metered(frames(container, stream), meters):
            if all(meter.ended for meter in meters):
                return
