"""How well doubles are told from other music, and what it costs: python -m bench.duplicates."""

import argparse
import base64
import itertools
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crawler.items import read_works
from dataset import duplicates
from dataset.decoding import load_segment
from dataset.fingerprint import (
    NUM_BANDS,
    VERSION,
    WORD_S,
    Bands,
    Words,
    compare,
    fingerprint,
    read_words,
    words_of,
)
from dataset.index import pair_to_row
from dataset.pairs import Pair
from dataset.schema import PAIRS_SCHEMA

LIMITS = {"missed": 0, "false_alarms": 0, "wrong_at_scale": 0, "fingerprint_s": 2.0}
DEMO = Path(__file__).parents[1] / "data" / "demo"
RATE_HZ = 16_000
SLOWER = 0.9  # tempo of the demo's second Haydn
SHIFT_S, GAIN_DB = 1.0, -6.0
DOUBLES = 100  # at scale one clip in so many has one
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Form:
    """What a clip is encoded as."""

    codec: str
    suffix: str
    rate: int  # Hz
    bit_rate: int  # per second


FORMS = {
    "mp3 64k": Form("libmp3lame", ".mp3", 44_100, 64_000),
    "mp3 32k": Form("libmp3lame", ".mp3", 22_050, 32_000),
    "opus 32k": Form("libopus", ".ogg", 48_000, 32_000),
    "aac 48k": Form("aac", ".m4a", 44_100, 48_000),
}


# --- distributions ----------------------------------------------------------------------------


def demo_clips() -> dict[tuple[str, int, str], Samples]:
    """(work, movement, file) -> samples at RATE_HZ: the 31 movements, four of them played twice."""
    media = json.loads((DEMO / "media.json").read_text(encoding="utf-8"))
    clips = {}
    for work in read_works(DEMO / "works.jsonl"):
        for part in (part for recording in work.recordings for part in recording.parts):
            medium = media[part.youtube_id]
            spans = [(part.movement or 0, part.start_s or 0.0, part.end_s)]
            if not part.movement:
                marks = enumerate(medium["chapters"], start=1)
                spans = [(number, mark["start_s"], mark["end_s"]) for number, mark in marks]
            for number, start_s, end_s in spans:
                clips[work.work_id, number, medium["file"]] = load_segment(
                    DEMO / medium["file"],
                    sample_rate=RATE_HZ,
                    start_s=start_s,
                    duration_s=None if end_s is None else end_s - start_s,
                )
    return clips


def double(samples: Samples, form: Form, shift_s: float) -> Samples:
    """A clip encoded and decoded, 6 dB softer, begun so much later; before it there is silence."""
    shift = round(shift_s * RATE_HZ)
    shifted = np.concatenate((np.zeros(max(-shift, 0), np.float32), samples[max(shift, 0) :]))
    return reencoded(shifted * np.float32(10 ** (GAIN_DB / 20)), form)


def reencoded(samples: Samples, form: Form) -> Samples:
    """What a lossy codec leaves of mono samples at RATE_HZ."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{form.suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(form.codec, rate=form.rate, layout="mono")
            assert isinstance(stream, av.AudioStream), form
            stream.bit_rate = form.bit_rate
            stream.codec_context.open()
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            resampler = av.AudioResampler(stream.format, "mono", form.rate, stream.frame_size)
            for block in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(stream.encode(block))
            container.mux(stream.encode(None))
        return load_segment(path, sample_rate=RATE_HZ)


def similarities(clips: Mapping[tuple[str, int, str], Samples]) -> dict[str, list[float]]:
    """Kind of pair -> similarity of each pair of its kind."""
    words = {key: heard(samples) for key, samples in clips.items()}
    found: dict[str, list[float]] = {}
    shifts = np.random.default_rng(0).uniform(-SHIFT_S, SHIFT_S, (len(clips), len(FORMS)))
    for (key, samples), row in zip(clips.items(), shifts, strict=True):
        for (name, form), shift_s in zip(FORMS.items(), row, strict=True):
            other = heard(double(samples, form, float(shift_s)))
            found.setdefault(name, []).append(compare(words[key], other))
    for one, other in itertools.combinations(words, 2):
        same = one[:2] == other[:2]
        kind = "other performance" if same else "other movement" if one[0] == other[0] else "other"
        found.setdefault(kind, []).append(compare(words[one], words[other]))
        if same:
            paced = in_tempo(clips[other], SLOWER)
            found.setdefault("the same in tempo", []).append(compare(words[one], paced))
    return found


def heard(samples: Samples) -> Words:
    """The words of a clip's fingerprint."""
    text = fingerprint(samples, RATE_HZ)
    assert text is not None, "a demo clip without a fingerprint"
    return read_words(text)


def in_tempo(samples: Samples, tempo: float) -> Words:
    """The words of a clip as they were if it had been played in 1 / tempo of its tempo."""
    bands = Bands(RATE_HZ)
    bands.push(samples)
    powers = bands.powers()
    times = np.arange(0, len(powers) - 1, 1 / tempo)
    before, share = times.astype(int), (times % 1)[:, np.newaxis]
    return words_of((1 - share) * powers[before] + share * powers[before + 1])


# --- scale ------------------------------------------------------------------------------------


def made_words(rng: np.random.Generator, count: int) -> Words:
    """Words of notes by chance, of which two clips share as many as two of the demo do."""
    notes = np.exp(3.5 * rng.standard_normal((count // 4 + 3, NUM_BANDS))).repeat(4, axis=0)
    bands = np.arange(NUM_BANDS)
    leaking = notes @ 0.3 ** np.abs(bands - bands[:, np.newaxis])
    sums = np.cumsum(leaking, axis=0)
    return words_of((sums[5:] - sums[:-5])[: count + 3].astype(np.float32))


def disturbed(rng: np.random.Generator, words: Words) -> Words:
    """A double: one bit in ten turned, in bursts as codecs do, and begun up to a second later."""
    share = rng.beta(0.5, 4.5, len(words))[:, np.newaxis]
    turned = np.packbits(rng.random((len(words), 32)) < share, axis=1).view(">u4")[:, 0]
    return (words ^ turned.astype(np.uint32))[rng.integers(0, round(SHIFT_S / WORD_S)) :]


def made_rows(count: int) -> Iterator[Pair]:
    """Rows of clips of 200 to 400 s; clip DOUBLES * n + 1 is a double of DOUBLES * n."""
    rng = np.random.default_rng(0)
    blank: dict[str, Any] = dict.fromkeys(
        "work_id recording_id caption caption_raw note_source align_method composer title "
        "source_url bounds_source page_url text_rights audio_rights".split(),
        "",
    )
    blank |= dict.fromkeys("text_index num_words num_tokens align_score".split(), 0)
    words = np.zeros(0, np.uint32)
    for number in range(count):
        second = number % DOUBLES == 1
        length = int(rng.integers(1600, 3200))
        words = disturbed(rng, words) if second else made_words(rng, length)
        text = VERSION + base64.b64encode(words.astype(">u4").tobytes()).decode()
        samples = round(len(words) * WORD_S * RATE_HZ)
        yield Pair(
            **blank, pair_id=str(number), level="movement", movements=(1,), clip_id=f"{number:07}",
            pcm_md5=str(number), num_samples=samples, sample_rate=RATE_HZ, fingerprint=text,
        )  # fmt: skip


def scale(count: int) -> dict[str, Any]:
    """Seconds and memory for so many clips, and how many answers are wrong."""
    rows = list(made_rows(count))
    table = pa.Table.from_pylist([pair_to_row(row) for row in rows], schema=PAIRS_SCHEMA)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    to_compare = sum(1 for _ in duplicates.candidates([row.fingerprint for row in rows]))
    looked_up_s = time.perf_counter() - begun
    begun = time.perf_counter()
    found = duplicates.find_duplicates(table)
    whole_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    expected = {f"{n + 1:07}": f"{n:07}" for n in range(0, count - 1, DOUBLES)}
    return {
        "clips": count,
        "fingerprints_mb": round(sum(len(row.fingerprint or "") for row in rows) / 1e6),
        "looked_up_s": round(looked_up_s, 1),
        "compared": to_compare,
        "whole_s": round(whole_s, 1),
        "memory_mb": round((after - before) / 1000),
        "doubles": len(expected),
        "wrong_at_scale": len(expected.items() ^ found.items()),
    }


# --- report -----------------------------------------------------------------------------------


def spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    """A row of the table: the least, the mean and the greatest."""
    least, mean, most = min(values), float(np.mean(values)), max(values)
    return {"pairs of": name, "count": len(values)} | {
        "least": round(least, 3), "mean": round(mean, 3), "most": round(most, 3),
    }  # fmt: skip


def figures(count: int) -> dict[str, Any]:
    """What is reported, as plain values."""
    clips = demo_clips()
    found = similarities(clips)
    true = [value for name in FORMS for value in found[name]]
    false = [value for name in found.keys() - FORMS.keys() for value in found[name]]
    ten_minutes = np.resize(next(iter(clips.values())), 600 * RATE_HZ)
    begun = time.process_time()
    fingerprint(ten_minutes, RATE_HZ)
    return {
        "cores": os.cpu_count(),
        "machine": platform.platform(),
        "rows": [spread(name, values) for name, values in found.items()],
        "alike": duplicates.ALIKE,
        "missed": sum(value < duplicates.ALIKE for value in true),
        "false_alarms": sum(value >= duplicates.ALIKE for value in false),
        "fingerprint_s": round(time.process_time() - begun, 2),
        **scale(count),
    }


def passed(result: Mapping[str, Any]) -> list[str]:
    """The limits that are passed."""
    return [name for name, limit in LIMITS.items() if result[name] > limit]


def main() -> int:
    """Measure, print, and end with 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20_000, help="made ones, for the scale")
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    result = figures(given.clips)
    print(f"similarity of the demo's clips; alike from {result['alike']} on")
    print("".join(f"{name:>20}" for name in result["rows"][0]))
    for row in result["rows"]:
        print("".join(f"{value:>20}" for value in row.values()))
    print(
        f"{result['clips']} made clips, {result['fingerprints_mb']} MB of fingerprints: looked up "
        f"in {result['looked_up_s']} s, {result['compared']} pairs compared, "
        f"{result['whole_s']} s in all, {result['memory_mb']} MB more"
    )
    for name, limit in LIMITS.items():
        verdict = "MISSED" if name in passed(result) else "held"
        print(f"{name:<16} {result[name]:>8}   limit {limit:>6}   {verdict}")
    if given.json:
        print(json.dumps(result))
    return 1 if passed(result) else 0


if __name__ == "__main__":
    sys.exit(main())
