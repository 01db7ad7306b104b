"""How fast clips are cut, beside a bare loop and beside the ffmpeg command: for bench.fetch."""

import importlib.util
import multiprocessing
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from dataset.clips import Cut, CutConfig, Span
from dataset.cutting import cut
from dataset.measures import measure
from dataset.tasks import PRELOAD
from dataset.workers import Workers

LEAST = {"cut_over_bare": 0.9, "full_over_ffmpeg": 0.8, "two_over_one_worker": 1.7}
MOST = {"peak_mb": 200.0}
REPEATS = 3  # of everything, in turn; the median counts
MINUTE_S = 60
LONG = 6  # times the length for the memory: three hours for half an hour
CONTAINERS = {"m4a": ("aac", 44_100), "webm": ("libopus", 48_000), "mp3": ("libmp3lame", 44_100)}
SHARES = (0.0, 0.24, 0.5, 0.72, 1.0)  # where the four movements lie
RATE = 16_000  # Hz of the clips


# ------------------------------------------------------------------------------------------------
# Recordings


def make_minute(path: Path) -> None:
    """A minute of stereo chords that swell, over a little noise."""
    codec, rate = CONTAINERS[path.suffix[1:]]
    at, rng = np.arange(MINUTE_S * rate) / rate, np.random.default_rng(1)
    wave = rng.normal(0, 0.01, (2, len(at)))
    for voice in range(6):
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 3) * at)
        wave[voice % 2] += 0.15 * swell * np.sin(2 * np.pi * 110 * 2 ** rng.uniform(0, 4) * at)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fits = av.AudioResampler(format=stream.codec_context.format.name)
        for piece in fits.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def repeat(minute: Path, path: Path, times: int) -> None:
    """The packets of a minute so many times, without encoding them again."""
    shift = 0
    with av.open(path, "w") as target:
        stream = None
        for _ in range(times):
            with av.open(minute) as source:
                stream = stream or target.add_stream_from_template(source.streams.audio[0])
                packets = [one for one in source.demux(audio=0) if one.dts is not None]
                for packet in packets:
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                shift = packets[-1].pts + packets[-1].duration - (packets[0].pts - shift)
                target.mux(packets)


# ------------------------------------------------------------------------------------------------
# The work, each in a process of its own


def spans_of(seconds: float) -> list[Span]:
    """Four movements."""
    return [Span(low * seconds, high * seconds) for low, high in pairwise(SHARES)]


def targets_of(folder: Path, number: int) -> list[Path]:
    """Names for so many clips."""
    return [folder / f"{n}.flac" for n in range(number)]


def cut_ours(source: Path, folder: Path, seconds: float) -> None:
    """Cut by PyAV, measuring nothing."""
    spans = spans_of(seconds)
    done = cut(source, spans, targets_of(folder, len(spans)), CutConfig(), levels=False)
    assert all(isinstance(one, Cut) for one in done), done


def cut_full(source: Path, folder: Path, seconds: float) -> None:
    """The same with every measure."""
    spans = spans_of(seconds)
    targets = targets_of(folder, len(spans))
    done = cut(source, spans, targets, CutConfig())
    assert all(isinstance(one, Cut) for one in done), done
    for target in targets:
        measure(target)


def cut_whole(source: Path, folder: Path, seconds: float) -> None:
    """All of it as one clip, with every measure."""
    [target] = targets_of(folder, 1)
    cut(source, [Span(0.0, seconds)], [target], CutConfig())
    measure(target)


def cut_bare(source: Path, folder: Path, seconds: float) -> None:
    """The measure for ours: decode, resample, encode with PyAV, and nothing else."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    spans = spans_of(seconds)
    files = [av.open(path, "w") for path in targets_of(folder, len(spans))]
    streams = [file.add_stream("flac", rate=RATE, layout="mono", format="s16") for file in files]
    with av.open(source) as container:
        number, written = 0, 0
        for frame in container.decode(audio=0):
            for block in resampler.resample(frame):
                files[number].mux(streams[number].encode(block))
                written += block.samples
                if written > (spans[number].end_s or 0) * RATE and number + 1 < len(spans):
                    number += 1
    for file, stream in zip(files, streams, strict=True):
        file.mux(stream.encode(None))
        file.close()


def cut_ffmpeg_full(source: Path, folder: Path, seconds: float) -> None:
    """The command does the same cuts, and measures loudness, true peak and silence."""
    spans = spans_of(seconds)
    branches = "".join(f"[p{n}]" for n in range(len(spans)))
    graph, outputs = [f"[0:a:0]asplit={len(spans)}{branches}"], []
    for n, (span, target) in enumerate(zip(spans, targets_of(folder, len(spans)), strict=True)):
        meters = "ebur128=peak=true:framelog=quiet,aresample=16000:out_chlayout=mono"
        trim = f"[p{n}]atrim={span.start_s}:{span.end_s}"
        graph.append(f"{trim},{meters},silencedetect=noise=-60dB:duration=0.1[o{n}]")
        outputs += ["-map", f"[o{n}]", "-sample_fmt", "s16", str(target)]
    run_ffmpeg(["-threads", "1", "-i", str(source), "-filter_complex", ";".join(graph), *outputs])


def cut_ffmpeg_seeking(source: Path, folder: Path, seconds: float) -> None:
    """The command seeks to each movement; nothing is measured."""
    spans = spans_of(seconds)
    for span, target in zip(spans, targets_of(folder, len(spans)), strict=True):
        form = ["-ac", "1", "-ar", str(RATE), "-sample_fmt", "s16", str(target)]
        length_s = (span.end_s or 0) - span.start_s
        run_ffmpeg(["-ss", f"{span.start_s}", "-t", f"{length_s}", "-i", str(source), *form])


def cut_by_command(source: Path, folder: Path, seconds: float) -> None:
    """Our backend of the command; nothing is measured."""
    spans = spans_of(seconds)
    config = CutConfig(backend="ffmpeg")
    cut(source, spans, targets_of(folder, len(spans)), config, levels=False)


def run_ffmpeg(arguments: Sequence[str]) -> None:
    """Run the command quietly."""
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "info", "-nostats", "-y", *arguments],
        check=True,
        stderr=subprocess.DEVNULL,
    )


Work = Callable[[Path, Path, float], None]


@dataclass(frozen=True)
class Usage:
    """What some work took."""

    cpu_s: float  # with its child processes
    wall_s: float


def used(work: Work, source: Path, folder: Path, seconds: float, workers: int = 1) -> Usage:
    """Do work in so many processes that begin together; the most that one of them took."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(workers)
    calls = []
    with ProcessPoolExecutor(workers, context, together.wait) as pool:
        for number in range(workers):
            own = folder / f"worker-{number}"
            own.mkdir(exist_ok=True)
            calls.append(pool.submit(_use, work, source, own, seconds))
        found = [call.result() for call in calls]
    return Usage(
        cpu_s=max(one.cpu_s for one in found),
        wall_s=max(one.wall_s for one in found),
    )


def _use(work: Work, source: Path, folder: Path, seconds: float) -> Usage:
    before, begun = os.times(), time.monotonic()
    work(source, folder, seconds)
    spent = [now - then for now, then in zip(os.times()[:4], before[:4], strict=True)]
    return Usage(sum(spent), time.monotonic() - begun)


def peak_mb(source: Path, folder: Path, seconds: float) -> float:
    """What a worker of the stage, as it is begun there, takes for the whole of a recording."""
    with Workers(1, PRELOAD) as workers:
        workers.give(source, partial(resident_mb, source, folder, seconds), limit_s=3600)
        [(_, found)] = workers.wait(3600)
    return float(found)


def resident_mb(source: Path, folder: Path, seconds: float) -> float:
    """The largest resident set of this process, once it has cut a recording."""
    cut_whole(source, folder, seconds)
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in one]
    return round(int(line.split()[1]) / 1e3, 1)


# ------------------------------------------------------------------------------------------------
# What is measured


def figures(folder: Path, minutes: int) -> dict[str, Any]:
    """Audio seconds a CPU second of every way in every container, their ratios, and the memory."""
    ways: dict[str, Work] = {"bare": cut_bare, "cut": cut_ours, "full": cut_full}
    with ffmpeg_on_path(folder) as there:
        if there:
            ways["ffmpeg_full"] = cut_ffmpeg_full
            ways["ffmpeg_backend"] = cut_by_command
            ways["ffmpeg_seeking"] = cut_ffmpeg_seeking
        rates: dict[str, dict[str, float]] = {name: {} for name in ways}
        ratios: dict[str, dict[str, float]] = {"cut_over_bare": {}, "full_over_ffmpeg": {}}
        for container in CONTAINERS:
            source = recording(folder, container, minutes)
            took = in_turn(ways, source, folder, minutes * MINUTE_S)
            for name, values in took.items():
                rates[name][container] = round(minutes * MINUTE_S / statistics.median(values))
            ratios["cut_over_bare"][container] = ratio(took["bare"], took["cut"])
            if there:
                ratios["full_over_ffmpeg"][container] = ratio(took["ffmpeg_full"], took["full"])
    long = recording(folder, "m4a", minutes * LONG)
    return {
        **{f"{name}_x": value for name, value in rates.items()},
        **{f"{name}_by_container": value for name, value in ratios.items()},
        **{name: min(value.values(), default=None) for name, value in ratios.items()},
        "two_over_one_worker": scaling(folder, minutes),
        "peak_mb": peak_mb(long, folder, minutes * LONG * MINUTE_S),
    }


def in_turn(
    ways: Mapping[str, Work], source: Path, folder: Path, seconds: float
) -> dict[str, list[float]]:
    """The CPU seconds of every way, REPEATS times, one after the other."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, work in ways.items():
            took[name].append(used(work, source, folder, seconds).cpu_s)
    return took


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as fast as they we are: the median over the turns."""
    return round(statistics.median(a / b for a, b in zip(theirs, ours, strict=True)), 3)


def scaling(folder: Path, minutes: int) -> float:
    """How much more two processes do in the same time than one, with every measure."""
    source, found = recording(folder, "m4a", minutes), []
    for _ in range(REPEATS):
        one = used(cut_full, source, folder, minutes * MINUTE_S)
        two = used(cut_full, source, folder, minutes * MINUTE_S, workers=2)
        found.append(2 * one.wall_s / two.wall_s)
    return round(statistics.median(found), 2)


def recording(folder: Path, container: str, minutes: int) -> Path:
    """A recording of so many minutes, made when it is not there."""
    minute, path = folder / f"minute.{container}", folder / f"{minutes}.{container}"
    if not minute.exists():
        make_minute(minute)
    if not path.exists():
        repeat(minute, path, minutes)
    return path


@contextmanager
def ffmpeg_on_path(folder: Path) -> Iterator[bool]:
    """Whether there is the command: this machine's, or the one of the package imageio-ffmpeg."""
    if shutil.which("ffmpeg"):
        yield True
        return
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        yield False
        return
    package = importlib.import_module("imageio_ffmpeg")
    (folder / "ffmpeg").symlink_to(package.get_ffmpeg_exe())
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield True
    finally:
        os.environ["PATH"] = before
