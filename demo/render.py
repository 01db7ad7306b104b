"""Renders the demo corpus: an excerpt of every movement of eight quartets, from free scores.

    python -m demo.render --quartets DIR [--out data/demo]

DIR holds quartets.csv, movements.csv and midi/ (OpenScore String Quartets, CC0). What is rendered
into which file stands in works.jsonl and media.json of the demo folder, which are written by
hand; this program adds audio/ and facts.json, what a score says of each excerpt. It is run once:
the audio is part of the repository. It needs the `fluidsynth` command and FluidR3_GM.sf2.
"""

import argparse
import bisect
import csv
import itertools
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, mode
from typing import Any

import av
import mido
import numpy as np
import soundfile

from crawler.errors import UserError
from crawler.files import atomic_path, write_atomic
from crawler.items import Recording, Work, read_works

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
GAIN = 1.0  # of fluidsynth, the same for all, so that soft movements stay soft
MIN_MUSIC_S, MAX_MUSIC_S = 30.0, 39.5  # 0.9 of the tempo still ends before 45 s
BEST_MUSIC_S = 35.0
TAIL_S = 0.5  # at least this much reverberation after the last bar
FADE_S = 1.0
GAP_S = 2.0  # of silence between the movements of one file
TICKS_PER_S = 960  # of the files that fluidsynth reads: 480 a quarter at 120
PARTS = ("first violin", "second violin", "viola", "cello")
CODECS = {  # suffix -> container, codec, sample rate in Hz, bits per second
    ".webm": ("webm", "libopus", 48_000, 32_000),
    ".ogg": ("ogg", "libopus", 48_000, 32_000),
    ".m4a": ("ipod", "aac", 44_100, 36_000),
}

# Krumhansl and Kessler 1982: how well the twelve notes above a tonic fit its key.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a group of performers sounds."""

    programs: tuple[int, int, int, int]  # General MIDI, 0-based, one a part
    tempo: float = 1.0  # times that of the score


RENDERINGS = {  # by the first performer named on the page
    "Earscribe Synthesiser": Rendering((40, 40, 41, 42)),
    "Earscribe String Ensemble": Rendering((48, 48, 48, 48), tempo=0.9),
}


@dataclass(frozen=True, slots=True, order=True)
class Tone:
    """One sounding note; times in ticks of its file, or in seconds of its excerpt."""

    start: float
    end: float
    part: int  # 0-based, index into PARTS
    pitch: int  # MIDI number
    velocity: int  # 1..127


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a movement, up to a bar line."""

    tones: tuple[Tone, ...]
    key: str  # of the movement: "F-sharp minor"
    music_s: float  # until the last bar line
    metre: str  # "3/4", the one that lasts longest
    quarter_bpm: float  # mean over the excerpt

    def length_s(self, tempo: float) -> int:
        """Whole seconds of audio, reverberation included."""
        return math.ceil(self.music_s / tempo + TAIL_S)


# ------------------------------------------------------------------------------------ the score


class Clock:
    """The tempi and metres of a MIDI file, on the axis of ticks."""

    def __init__(self, midi: mido.MidiFile) -> None:
        self.ticks_per_quarter = midi.ticks_per_beat
        self.tempi = [(0, 0.0, 500_000)]  # (tick, second, microseconds a quarter)
        self.metres: list[tuple[int, int, int]] = []  # (tick, numerator, denominator)
        tick = 0
        for message in midi.tracks[0]:
            tick += message.time
            if message.type == "set_tempo":
                self.tempi.append((tick, self.second(tick), message.tempo))
            elif message.type == "time_signature":
                self.metres.append((tick, message.numerator, message.denominator))

    def second(self, tick: int) -> float:
        """Second at which a tick falls."""
        since, second, tempo = self.tempi[bisect.bisect(self.tempi, (tick, math.inf)) - 1]
        return second + (tick - since) / self.ticks_per_quarter * tempo / 1e6

    def bar_lines(self) -> Iterator[tuple[int, str]]:
        """The tick at which each bar ends, and its metre ("3/4"); endless."""
        ends = [*(tick for tick, _, _ in self.metres[1:]), sys.maxsize]
        for (tick, numerator, denominator), end in zip(self.metres, ends, strict=True):
            bar = self.ticks_per_quarter * 4 * numerator // denominator
            while tick < end:
                tick = min(tick + bar, end)
                yield tick, f"{numerator}/{denominator}"


def read_tones(midi: mido.MidiFile) -> list[Tone]:
    """All tones of a file, times in ticks; one track a part after the conductor's."""
    tones = []
    for part, track in enumerate(midi.tracks[1:]):
        sounding: dict[int, tuple[int, int]] = {}
        tick = 0
        for message in track:
            tick += message.time
            if message.type not in {"note_on", "note_off"}:
                continue
            if begun := sounding.pop(message.note, None):
                tones.append(Tone(begun[0], tick, part, message.note, begun[1]))
            if message.type == "note_on" and message.velocity:
                sounding[message.note] = (tick, message.velocity)
    return sorted(tones)


def cut_excerpt(midi: mido.MidiFile, start_s: float, end_s: float, key: str) -> Excerpt:
    """The beginning of the movement that lies between two times of the file, in seconds."""
    clock = Clock(midi)
    tones = [
        tone for tone in read_tones(midi) if start_s - 1e-3 <= clock.second(int(tone.start)) < end_s
    ]
    first = int(tones[0].start)
    origin_s = clock.second(first)
    last_s = min(end_s, origin_s + MAX_MUSIC_S) + 1e-3
    bars = [
        bar
        for bar in itertools.takewhile(
            lambda bar: clock.second(bar[0]) <= last_s, clock.bar_lines()
        )
        if bar[0] > first
    ]
    lines = [line for line, _ in bars if clock.second(line) >= origin_s + MIN_MUSIC_S]
    stop = choose_end(tones, lines, clock)
    music_s = clock.second(stop) - origin_s
    within = [tone for tone in tones if tone.start < stop]
    return Excerpt(
        tones=tuple(
            replace(
                tone,
                start=clock.second(int(tone.start)) - origin_s,
                end=min(clock.second(int(tone.end)) - origin_s, music_s),
            )
            for tone in within
        ),
        key=key,
        music_s=music_s,
        metre=mode(metre for line, metre in bars if line <= stop),
        quarter_bpm=round((stop - first) / clock.ticks_per_quarter / music_s * 60, 1),
    )


def choose_end(tones: Sequence[Tone], lines: Sequence[int], clock: Clock) -> int:
    """The bar line, in ticks, over which the fewest tones are held, near the wished length."""
    wished_s = clock.second(int(tones[0].start)) + BEST_MUSIC_S
    slack = clock.ticks_per_quarter // 16  # a tone ends a little before or after its value

    def cost(line: int) -> tuple[int, float]:
        held = sum(tone.start < line - slack and tone.end > line + slack for tone in tones)
        return held, abs(clock.second(line) - wished_s)

    return min(lines, key=cost)


def read_excerpts(quartets: Path) -> dict[str, dict[int, Excerpt]]:
    """work_id -> movement number -> excerpt, of the works of the demo set."""
    rows = read_rows(quartets / "quartets.csv")
    slugs = {row["id"]: row["slug"] for row in rows if row["set"] == "demo"}
    excerpts: dict[str, dict[int, Excerpt]] = defaultdict(dict)
    for row in read_rows(quartets / "movements.csv"):
        if slug := slugs.get(row["id"]):
            midi = mido.MidiFile(quartets / "midi" / f"{row['id']}.mid")
            excerpts[slug][int(row["movement"])] = cut_excerpt(
                midi, float(row["start_s"]), float(row["end_s"]), row["key"]
            )
    return excerpts


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column name."""
    if not path.is_file():
        raise UserError(f"no {path.name} in {path.parent}: --quartets takes the quartets folder")
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# ------------------------------------------------------------------------------------ the facts


def describe(work_id: str, movement: int, excerpt: Excerpt) -> dict[str, Any]:
    """What the score says of an excerpt at its own tempo: a line of facts.json."""
    tones = excerpt.tones
    parts = {name: [tone for tone in tones if tone.part == part] for part, name in enumerate(PARTS)}
    played = {name: own for name, own in parts.items() if own}
    entries = {name: round(own[0].start, 2) for name, own in played.items()}
    heights = {name: round(mean(tone.pitch for tone in own), 1) for name, own in played.items()}
    weights = pitch_classes(tones)
    return {
        "work_id": work_id,
        "movement": movement,
        "length_s": excerpt.length_s(1.0),
        "music_s": round(excerpt.music_s, 2),
        "key": excerpt.key,
        "mode": excerpt.key.split()[1],
        "key_fit": round(key_fit(weights, excerpt.key), 2),
        "pitch_classes": [round(float(weight), 3) for weight in weights],
        "metre": excerpt.metre,
        "quarter_bpm": excerpt.quarter_bpm,
        "first_parts": [name for name, entry in entries.items() if entry == 0.0],
        "entry_s": entries,  # a part that is silent is missing
        "highest_part": max(heights, key=heights.__getitem__),
        "mean_pitch": heights,
        "notes_per_s": round(len(tones) / excerpt.music_s, 1),
        "onsets_per_s": round(len({round(tone.start, 2) for tone in tones}) / excerpt.music_s, 1),
        "velocity_mean": round(mean(tone.velocity for tone in tones)),
        "velocity_by_5s": velocity_by_5s(tones, excerpt.music_s),
    }


def pitch_classes(tones: Sequence[Tone]) -> np.ndarray:
    """Share of the sounding time of each pitch class, (12,), C first."""
    weights = np.zeros(12)
    for tone in tones:
        weights[tone.pitch % 12] += tone.end - tone.start
    return weights / weights.sum()


def key_fit(weights: np.ndarray, key: str) -> float:
    """Correlation of pitch classes with the profile of a key ("F-sharp minor"), -1..1."""
    tonic, mode = key.split()
    steps = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    shift = steps[tonic[0]] + ("sharp" in tonic) - ("flat" in tonic)
    profile = MAJOR_PROFILE if mode == "major" else MINOR_PROFILE
    return float(np.corrcoef(weights, np.roll(profile, shift))[0, 1])


def velocity_by_5s(tones: Sequence[Tone], music_s: float) -> list[int | None]:
    """Mean MIDI velocity of the notes that begin in each five seconds; None where none does."""
    means: list[int | None] = []
    for start in range(0, int(music_s), 5):
        within = [tone.velocity for tone in tones if start <= tone.start < start + 5]
        means.append(round(mean(within)) if within else None)
    return means


# ------------------------------------------------------------------------------------ the sound


def synthesise(excerpt: Excerpt, rendering: Rendering, sample_rate: int) -> np.ndarray:
    """Play an excerpt with fluidsynth: mono float (samples,), faded out over its last second."""
    length_s = excerpt.length_s(rendering.tempo)
    with tempfile.TemporaryDirectory() as scratch:
        score, wave = Path(scratch) / "score.mid", Path(scratch) / "score.wav"
        write_midi(score, excerpt, rendering, length_s)
        command = ["fluidsynth", "-ni", "-q", "-g", str(GAIN), "-r", str(sample_rate)]
        subprocess.run([*command, "-F", wave, SOUNDFONT, score], check=True, capture_output=True)
        rendered = soundfile.read(wave)[0].mean(axis=1)  # (samples, 2) -> (samples,)
    mono = np.zeros(length_s * sample_rate)
    mono[: len(rendered)] = rendered[: len(mono)]
    fade = int(FADE_S * sample_rate)
    mono[-fade:] *= np.linspace(1, 0, fade)
    return mono


def write_midi(path: Path, excerpt: Excerpt, rendering: Rendering, length_s: int) -> None:
    """Write an excerpt as a MIDI file, its own tempi turned into times, one channel a part."""
    midi = mido.MidiFile(ticks_per_beat=TICKS_PER_S // 2)
    for part, program in enumerate(rendering.programs):
        track = mido.MidiTrack()
        midi.tracks.append(track)
        track.append(mido.Message("program_change", channel=part, program=program))
        events = []
        for tone in (tone for tone in excerpt.tones if tone.part == part):
            for second, velocity in ((tone.start, tone.velocity), (tone.end, 0)):
                tick = round(second / rendering.tempo * TICKS_PER_S)
                events.append((tick, velocity > 0, tone.pitch, velocity))
        now = 0
        for tick, _, pitch, velocity in sorted(events):  # at one tick, ends before beginnings
            track.append(
                mido.Message(
                    "note_on", channel=part, note=pitch, velocity=velocity, time=tick - now
                )
            )
            now = tick
        track.append(mido.MetaMessage("end_of_track", time=max(0, length_s * TICKS_PER_S - now)))
    midi.save(path)


def encode(path: Path, samples: np.ndarray) -> None:
    """Write mono samples, -1..1, in the container and codec of the file's suffix."""
    form, codec, rate, bit_rate = CODECS[path.suffix]
    pcm = np.round(samples.clip(-1, 1) * 32_767).astype(np.int16)[np.newaxis]
    with atomic_path(path) as temporary:
        # bitexact leaves out dates, versions and random identifiers
        options = {"fflags": "+bitexact"}
        with av.open(str(temporary), "w", format=form, options=options) as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            assert isinstance(stream, av.AudioStream), codec
            stream.bit_rate = bit_rate
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
            frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


# ------------------------------------------------------------------------------------ the folder


def render(quartets: Path, out: Path) -> None:
    """Render every file of media.json and write facts.json."""
    excerpts = read_excerpts(quartets)
    media = json.loads((out / "media.json").read_text(encoding="utf-8"))
    for work in read_works(out / "works.jsonl"):
        for recording in work.recordings:
            render_recording(work, recording, excerpts[work.work_id], out, media)
    facts = [
        describe(work_id, number, excerpt)
        for work_id, movements in sorted(excerpts.items())
        for number, excerpt in sorted(movements.items())
    ]
    lines = ",\n".join(json.dumps(fact) for fact in facts)
    write_atomic(out / "facts.json", f"[\n{lines}\n]\n".encode())


def render_recording(
    work: Work,
    recording: Recording,
    excerpts: Mapping[int, Excerpt],
    out: Path,
    media: Mapping[str, Any],
) -> None:
    """Render the files of one recording: the parts of one video share a file."""
    rendering = RENDERINGS[recording.performers[0]]
    for video, group in itertools.groupby(recording.parts, key=lambda part: part.youtube_id or ""):
        parts = list(group)
        listed = [(part.start_s, part.end_s) for part in parts]
        numbers = [part.movement or 0 for part in parts]
        if numbers == [0]:  # the complete work: its movements are known from the chapters
            listed = [(mark["start_s"], mark["end_s"]) for mark in media[video]["chapters"]]
            numbers = [movement.number for movement in work.movements]
        played = [excerpts[number] for number in numbers]
        spans = timeline([excerpt.length_s(rendering.tempo) for excerpt in played])
        check_bounds(video, listed, spans)
        render_file(out / media[video]["file"], played, spans, rendering)


def render_file(
    path: Path,
    excerpts: Sequence[Excerpt],
    spans: Sequence[tuple[float, float]],
    rendering: Rendering,
) -> None:
    """Render excerpts into one file, each into its span in seconds."""
    rate = CODECS[path.suffix][2]
    samples = np.zeros(round(spans[-1][1] * rate))
    for excerpt, (start_s, end_s) in zip(excerpts, spans, strict=True):
        played = synthesise(excerpt, rendering, rate)
        samples[round(start_s * rate) : round(end_s * rate)] = played
    encode(path, samples)
    print(f"{path.name}: {spans[-1][1]:.0f} s, peak {np.abs(samples).max():.2f}")


def timeline(lengths_s: Sequence[int]) -> list[tuple[float, float]]:
    """Start and end of each movement of a file, with a gap between two."""
    starts = itertools.accumulate((length + GAP_S for length in lengths_s), initial=0.0)
    return [(start, start + length) for start, length in zip(starts, lengths_s, strict=False)]


def check_bounds(
    video: str,
    listed: Sequence[tuple[float | None, float | None]],
    spans: Sequence[tuple[float, float]],
) -> None:
    """Raise UserError when works.jsonl or media.json gives other bounds than the scores."""
    for (start, end), span in zip(listed, spans, strict=True):
        if (start or span[0], end or span[1]) != span:
            raise UserError(f"{video} is listed from {start} to {end} s, its score gives {span}")


def main() -> None:
    """Read the arguments and render."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quartets", type=Path, required=True, help="folder of the scores")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="demo corpus folder")
    arguments = parser.parse_args()
    try:
        check_tools()
        render(arguments.quartets, arguments.out)
    except UserError as mistake:
        raise SystemExit(str(mistake)) from None


def check_tools() -> None:
    """Raise UserError when the synthesiser or its soundfont is missing."""
    if shutil.which("fluidsynth") is None:
        raise UserError("no fluidsynth command: install the system package fluidsynth")
    if not SOUNDFONT.is_file():
        raise UserError(f"no soundfont at {SOUNDFONT}: install the package fluid-soundfont-gm")


if __name__ == "__main__":
    main()
