"""The demo corpus says of its music only what is heard, at the places where it says so."""

import functools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import mido
import numpy as np
import pytest

from crawler.errors import UserError
from crawler.items import Part, Recording, Work, read_works
from demo import render

DEMO = Path(__file__).parents[1] / "data" / "demo"
MAX_BYTES = 8 * 2**20
Fact = Mapping[str, Any]
Claim = Callable[[Fact], bool]


@functools.cache
def works() -> dict[str, Work]:
    return {work.work_id: work for work in read_works(DEMO / "works.jsonl")}


@functools.cache
def load(name: str) -> Any:
    return json.loads((DEMO / name).read_text(encoding="utf-8"))


@functools.cache
def facts() -> dict[tuple[str, int], Fact]:
    return {(fact["work_id"], fact["movement"]): fact for fact in load("facts.json")}


@functools.cache
def decode(path: Path) -> tuple[np.ndarray, int, int]:
    """Samples, sample rate in Hz and number of channels of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames), stream.rate, stream.channels


def parts() -> list[tuple[Work, Recording, Part]]:
    return [
        (work, recording, part)
        for work in works().values()
        for recording in work.recordings
        for part in recording.parts
    ]


def spans() -> list[tuple[str, int, Path, float, float | None]]:
    """Work, movement, file, start and end (None: of the file) of each excerpt in seconds."""
    found: list[tuple[str, int, Path, float, float | None]] = []
    for work, _, part in parts():
        medium = load("media.json")[part.youtube_id]
        bounds = [(part.movement or 0, part.start_s or 0.0, part.end_s)]
        if part.movement == 0:
            marks = enumerate(medium["chapters"], start=1)
            bounds = [(number, mark["start_s"], mark["end_s"]) for number, mark in marks]
        found += [(work.work_id, n, DEMO / medium["file"], start, end) for n, start, end in bounds]
    return found


def heard(path: Path, start_s: float, end_s: float | None) -> np.ndarray:
    samples, rate, _ = decode(path)
    return samples[round(start_s * rate) : None if end_s is None else round(end_s * rate)]


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


# -------------------------------------------------------------------------------- works and ids


def test_eight_works_with_prose_and_one_with_facts_alone() -> None:
    bare = [work for work in works().values() if not work.recordings]
    assert len(bare) == 1
    assert bare[0].notes == ()
    assert bare[0].facts
    spoken = [work for work in works().values() if work.recordings]
    assert len(spoken) == 8
    assert sum(len(work.movements) for work in spoken) == len(facts()) == 31
    assert sorted(len(work.notes) for work in spoken) == [1, 1, 1, 1, 1, 2, 2, 2]
    assert sorted(len(work.recordings) for work in spoken) == [1, 1, 1, 1, 1, 1, 1, 2]
    assert all(work.page_sha256 is None for work in spoken)


def test_ids_have_the_shapes_that_make_trouble() -> None:
    ids = {part.youtube_id or "" for _, _, part in parts()}
    assert ids == set(load("media.json"))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{11}", video) for video in ids)
    assert {"-", "_"} < {video[0] for video in ids}
    assert any(video[-1].isdigit() for video in ids)
    for _, recording, part in parts():
        assert part.video_id == f"{part.youtube_id}{part.movement}"
        assert part.url == f"/watch?v={part.youtube_id}"
        assert recording.recording_id == recording.parts[0].video_id


def test_every_layout_of_a_recording_is_there() -> None:
    files = {medium["file"] for medium in load("media.json").values()}
    assert files == {f"audio/{path.name}" for path in (DEMO / "audio").iterdir()}
    assert {Path(file).suffix for file in files} == {".webm", ".m4a", ".ogg"}
    assert any(part.movement == 0 and part.start_s is None for _, _, part in parts())
    assert any(part.start_s is not None and part.end_s is None for _, _, part in parts())
    recordings = [recording for work in works().values() for recording in work.recordings]
    videos = [len({part.youtube_id for part in recording.parts}) for recording in recordings]
    assert set(videos) == {1, 2, 3, 4}  # 2: two movements in each of two files


# ---------------------------------------------------------------------------------------- audio


def test_audio_is_small_mono_and_as_long_as_said() -> None:
    ends: dict[Path, float] = {}
    for _, _, part in parts():
        path = DEMO / load("media.json")[part.youtube_id]["file"]
        ends[path] = (part.start_s or 0.0) + (part.duration_s or 0.0)
        assert part.movement == 0 or 30 <= (part.duration_s or 0.0) <= 45, part.video_id
    for path, end_s in ends.items():
        samples, rate, channels = decode(path)
        assert channels == 1
        assert len(samples) / rate == pytest.approx(end_s, abs=0.1), path.name
        assert path.stat().st_size * 8 / end_s <= 40_000, path.name
    assert sum(path.stat().st_size for path in ends) <= MAX_BYTES


def test_lengths_on_the_page_are_those_of_the_scores() -> None:
    for (work_id, number), fact in facts().items():
        movement = works()[work_id].movements[number - 1]
        assert (movement.number, movement.typical_s) == (number, fact["length_s"])
        assert 30 <= fact["music_s"] <= fact["length_s"] - render.TAIL_S


def test_silence_lies_between_the_movements_at_the_said_places() -> None:
    listed = spans()
    gaps = 0
    for (_, _, path, start_s, end_s), following in zip(listed, [*listed[1:], None], strict=True):
        assert rms(heard(path, start_s, start_s + 1.5)) > 1e-3, (path.name, start_s)
        if following is None or following[2] != path or end_s is None:
            continue
        gaps += 1
        assert following[3] - end_s == render.GAP_S
        assert rms(heard(path, end_s + 0.05, following[3] - 0.05)) < 1e-4, (path.name, end_s)
        assert rms(heard(path, end_s - 3.0, end_s - 1.0)) > 1e-3, (path.name, end_s)
    assert gaps == 4 * 3 + 2 * 1  # four files of four movements, two of two


def chroma(samples: np.ndarray, rate: int) -> np.ndarray:
    """Share of the magnitude between 60 and 1000 Hz of each pitch class, (12,), C first."""
    size = 16_384
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::size]
    magnitudes = np.abs(np.fft.rfft(windows * np.hanning(size))).sum(axis=0)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    within = (frequencies > 60) & (frequencies < 1000)
    steps = np.round(12 * np.log2(frequencies[within] / 440)).astype(int) + 9
    shares = np.bincount(steps % 12, magnitudes[within], 12)
    return shares / shares.sum()


def test_every_excerpt_sounds_like_its_own_score() -> None:
    own_is_best = 0
    for work_id, number, path, start_s, end_s in spans():
        found = chroma(heard(path, start_s, end_s), decode(path)[1])
        fits = {
            movement: float(np.corrcoef(found, fact["pitch_classes"])[0, 1])
            for (owner, movement), fact in facts().items()
            if owner == work_id
        }
        assert fits[number] > 0.5, (path.name, number, fits)
        own_is_best += max(fits, key=fits.__getitem__) == number
    # two movements in the same key can share their pitch classes
    assert own_is_best >= len(spans()) - 2


def test_loudness_follows_the_score() -> None:
    pairs = [
        (20 * np.log10(rms(heard(path, start, end))), facts()[work_id, number]["velocity_mean"])
        for work_id, number, path, start, end in spans()
    ]
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.7


# ---------------------------------------------------------------------------------------- prose


def test_alignment_holds_every_sentence_of_every_note_in_order() -> None:
    aligned: dict[tuple[str, str], list[str]] = {}
    for line in load("alignment.json"):
        aligned.setdefault((line["work_id"], line["source"]), []).append(line["sentence"])
    notes = {
        (work.work_id, note.source): " ".join(note.text.split())
        for work in works().values()
        for note in work.notes
    }
    assert {key: " ".join(sentences) for key, sentences in aligned.items()} == notes


def test_every_movement_is_spoken_of_and_a_sentence_of_each_essay_names_two() -> None:
    spoken = set()
    shared = []
    for line in load("alignment.json"):
        spoken |= {(line["work_id"], number) for number in line["movements"]}
        if len(line["movements"]) == 2:
            shared.append(line["source"])
            assert line["movements"][1] == line["movements"][0] + 1
    assert spoken == set(facts())
    assert shared == ["Earscribe Demo Essays"] * 3


def test_no_sentence_is_said_twice() -> None:
    sentences = [line["sentence"] for line in load("alignment.json")]
    assert len(set(sentences)) == len(sentences)


KEY = re.compile(r"\bin ([A-Ga-g])( flat| sharp)? (major|minor)\b")
NEGATED = re.compile(r"^(Instead of|One might expect)[^,:]*?(finale|movement)")
LEXICON: list[tuple[str, Claim]] = [
    (r"triple time|three beats", lambda fact: fact["metre"] == "3/4"),
    (r"duple time", lambda fact: fact["metre"] == "2/4"),
    (r"\b6/8", lambda fact: fact["metre"] == "6/8"),
    (r"five beats", lambda fact: fact["metre"] == "5/4"),
    (r"\b(slow|calm|still centre)\b", lambda fact: fact["quarter_bpm"] < 95),
    (
        r"\b(quick|rapid|speed|brisk|scurry|bustle)\b",
        lambda fact: fact["quarter_bpm"] > 120 or fact["onsets_per_s"] > 5,
    ),
    (r"perpetual motion|unbroken|speed", lambda fact: fact["onsets_per_s"] > 7),
    (r"\bthroughout\b", lambda fact: min(levels(fact)) >= 80),
    (
        r"\b(loud|loudly|forte|hammer|noise|full strength)\b",
        lambda fact: max(levels(fact)) >= 80,
    ),
    (r"\b(very soft\w*|whisper\w*)\b", lambda fact: min(levels(fact)) <= 49),
    (r"\b(soft\w*|hush|quiet\w*|murmur)\b", lambda fact: min(levels(fact)) <= 65),
]


def levels(fact: Fact) -> list[int]:
    return [level for level in fact["velocity_by_5s"] if level is not None]


def test_claims_of_key_metre_tempo_and_loudness_are_true() -> None:
    claims = 0
    for line in load("alignment.json"):
        own = [facts()[line["work_id"], number] for number in line["movements"]]
        sentence = NEGATED.sub("", line["sentence"]) if own else ""
        for tonic, sign, mode in KEY.findall(sentence):
            claims += 1
            key = f"{tonic.upper()}{sign.replace(' ', '-')} {mode}"
            assert any(key == fact["key"] and fact["key_fit"] >= 0.7 for fact in own), sentence
            assert tonic.isupper() == (mode == "major"), sentence
        for pattern, holds in LEXICON:
            if re.search(pattern, sentence):
                claims += 1
                assert any(holds(fact) for fact in own), (pattern, sentence)
    assert claims > 60


def alone_for(fact: Fact) -> float:
    """Seconds during which the part that begins plays without another."""
    first, second = sorted(fact["entry_s"].values())[:2]
    return float(second - first)


def begins(*names: str, alone_s: float = 0.0) -> Claim:
    return lambda fact: fact["first_parts"] == list(names) and alone_for(fact) >= alone_s


def leads(name: str) -> Claim:
    return lambda fact: fact["highest_part"] == name


def silent(name: str) -> Claim:
    return lambda fact: name not in fact["entry_s"]


def enters(name: str, after_s: float, before_s: float) -> Claim:
    return lambda fact: after_s <= fact["entry_s"][name] <= before_s


def one_by_one(*names: str) -> Claim:
    return lambda fact: sorted(fact["entry_s"], key=fact["entry_s"].__getitem__) == list(names)


VIOLIN, SECOND, VIOLA, CELLO = render.PARTS
PLAYED: dict[str, Claim] = {  # a phrase of the prose -> what it claims
    "all four instruments in octaves": begins(VIOLIN, SECOND, VIOLA, CELLO),
    "both violins start in unison": begins(VIOLIN, SECOND),
    "in triple time, carried by the first violin": leads(VIOLIN),
    "the cello begins to sing": enters(CELLO, 0.0, 0.5),
    "After six seconds the first violin": enters(VIOLIN, 5.5, 6.5),
    "For more than half a minute": silent(VIOLIN),
    "a long melody to the cello": leads(CELLO),
    "the two violins ask in octaves": begins(VIOLIN, SECOND),
    "above unbroken semiquavers": leads(VIOLIN),
    "a duet for the cello and the first violin": begins(VIOLIN, CELLO),
    "The viola and then the second violin join in": one_by_one(VIOLIN, CELLO, VIOLA, SECOND),
    "opened very softly by viola and cello": begins(VIOLA, CELLO),
    "one after another from the cello upwards": one_by_one(CELLO, VIOLA, SECOND, VIOLIN),
    "silent for several bars": enters(VIOLIN, 11.0, 13.0),
    "for a dozen seconds": enters(VIOLIN, 11.0, 13.0),
    "echoed at once by the cello": begins(VIOLIN),
    "the first violin begins it alone": begins(VIOLIN, alone_s=2.0),
    "the first violin unaccompanied": begins(VIOLIN, alone_s=1.5),
    "viola and cello hurl out": begins(VIOLA, CELLO),
    "the violins begin in octaves": begins(VIOLIN, SECOND),
    "the viola sings above them": leads(VIOLA),
    "a rocking fifth in the cello": begins(CELLO),
    "The viola alone opens": begins(VIOLA, alone_s=6.5),
    "for some seven seconds": begins(VIOLA, alone_s=6.5),
    "the viola again begins": begins(VIOLA, alone_s=5.0),
    "from the top down": one_by_one(VIOLIN, SECOND, VIOLA, CELLO),
    "to itself for eight seconds": begins(VIOLIN, alone_s=7.9),
    "The cello has still not played": silent(CELLO),
}


@pytest.mark.parametrize("phrase", PLAYED)
def test_who_begins_and_who_leads_is_true(phrase: str) -> None:
    (line,) = [line for line in load("alignment.json") if phrase in line["sentence"]]
    (number,) = line["movements"]
    assert PLAYED[phrase](facts()[line["work_id"], number])


# ------------------------------------------------------------------------------------- renderer


def small_score() -> mido.MidiFile:
    """A beat of upbeat, then 3/4: 60 quarters a minute for 30 s, from there 120."""
    midi = mido.MidiFile(ticks_per_beat=480)
    head = mido.MidiTrack()
    head.append(mido.MetaMessage("time_signature", numerator=1, denominator=4))
    head.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    head.append(mido.MetaMessage("time_signature", numerator=3, denominator=4, time=480))
    head.append(mido.MetaMessage("set_tempo", tempo=500_000, time=29 * 480))
    violin = mido.MidiTrack()
    violin.append(mido.Message("note_on", note=69, velocity=80))
    violin.append(mido.Message("note_off", note=69, time=38 * 480))
    violin.append(mido.Message("note_on", note=71, velocity=40))
    violin.append(mido.Message("note_on", note=71, velocity=0, time=100 * 480))
    midi.tracks.extend([head, violin])
    return midi


def test_excerpt_ends_at_the_bar_line_nearest_to_the_wished_length() -> None:
    # Bar lines from 30 s on: quarters 31, 34, 37, 40, 43 ... at 30.5, 32.0, 33.5, 35.0, 36.5 s.
    # One tone is held over each of them.
    excerpt = render.cut_excerpt(small_score(), 0.0, 300.0, "A major")
    assert excerpt.music_s == pytest.approx(35.0)
    assert excerpt.metre == "3/4"
    assert excerpt.quarter_bpm == pytest.approx(40 / 35 * 60, abs=0.05)
    first, second = excerpt.tones
    assert (first.start, first.end, first.pitch) == (0.0, pytest.approx(34.0), 69)
    assert (second.start, second.end) == (pytest.approx(34.0), pytest.approx(35.0))
    assert (excerpt.length_s(1.0), excerpt.length_s(0.9)) == (36, 40)


def test_excerpt_prefers_a_rest_to_the_wished_length() -> None:
    score = small_score()
    score.tracks[1][1].time = 32 * 480
    score.tracks[1][3].time = 480  # over at quarter 33, a free bar line is at 34, 32.0 s
    score.tracks[1].append(mido.Message("note_on", note=60, velocity=60, time=480))
    score.tracks[1].append(mido.Message("note_off", note=60, time=100 * 480))
    excerpt = render.cut_excerpt(score, 0.0, 300.0, "A major")
    assert excerpt.music_s == pytest.approx(32.0)
    assert [tone.pitch for tone in excerpt.tones] == [69, 71]


@pytest.mark.parametrize("suffix", sorted(render.CODECS))
def test_encoded_tone_keeps_pitch_and_length_and_its_bytes(suffix: str, tmp_path: Path) -> None:
    rate = render.CODECS[suffix][2]
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    path, again = tmp_path / f"tone{suffix}", tmp_path / f"again{suffix}"
    render.encode(path, tone)
    render.encode(again, tone)
    assert path.read_bytes() == again.read_bytes()
    samples, found_rate, _ = decode(path)
    assert len(samples) / found_rate == pytest.approx(2.0, abs=0.1)
    assert np.abs(np.fft.rfft(samples[rate : rate + rate // 2])).argmax() * 2 == 440


def test_another_bound_than_the_score_gives_is_told() -> None:
    said = render.timeline([36, 35])
    render.check_bounds("demoHaydn01", [(0.0, 36.0), (38.0, None)], said)
    with pytest.raises(UserError, match=r"demoHaydn01 is listed from 39\.0 .* gives \(38\.0"):
        render.check_bounds("demoHaydn01", [(0.0, 36.0), (39.0, None)], said)


def test_missing_synthesiser_and_scores_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no quartets\.csv in .*--quartets"):
        render.read_excerpts(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="install the system package fluidsynth"):
        render.check_tools()
