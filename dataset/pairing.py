"""The pair stage: every text about a movement x every recording of the work."""

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crawler.errors import UserError
from crawler.items import Note, Part, Recording, Work, read_works
from crawler.ledger import Ledger, State
from crawler.summary import Progress, Summary, silent
from dataset.captions import Reading, clean, num_tokens, num_words, read_note, tempo_class
from dataset.index import PAIRS_NAME, load_pairs, write_pairs
from dataset.overrides import OVERRIDES_NAME, Correction, Overrides, read_overrides
from dataset.schema import Level, Pair, pair_id

logger = logging.getLogger(__name__)

WORKS_NAME = "works.jsonl"
ALIGN_METHOD = "order-and-names-1"
GIVEN = "given"  # the note came with its movements
OVERRIDE = "override"  # a person gave the movements, or the bounds of a clip
OVERRIDDEN = "overridden"  # flag of a row that a person corrected
DROPPED = "dropped_by_hand"
TABLE = "table"  # the row came from a person's table and is not of a work
CUT_COLUMNS = (  # what `fetch` writes into a row, kept over a second `pair`
    *("clip_id", "start_s", "end_s", "bounds_source", "actual_start_s", "actual_end_s", "audio"),
    *("sample_rate", "num_samples", "sha256", "pcm_md5", "codec", "loudness_lufs"),
    *("true_peak_dbtp", "silence_head_s", "silence_tail_s", "silence_ratio", "clipping_ratio"),
    *("dc_offset", "bandwidth_hz", "fingerprint", "duplicate_of", "status", "stage"),
    *("error_class", "error_message", "filter_reason", "config_fingerprint", "audio_rights"),
)
ENSEMBLES = ("duo", "trio", "quartet", "quintet", "sextet", "septet", "octet", "nonet", "sonata")
FREE = re.compile(
    r"\bCC0\b|\bCC[ -]BY\b|\bCreative Commons (?:Attribution|Zero)\b|\bpublic domain\b"
    r"|creativecommons\.org/(?:publicdomain|licenses/by)\b",
    re.IGNORECASE,
)
RESTRICTED = re.compile(r"\bN[CD]\b|\bnon-?commercial|\bno-?deriv|\bnot\b", re.IGNORECASE)
OF_PROSE = ("fragment", "no_number", "same_sent_id", "sound_bite")  # flags of no alignment
NO_OVERRIDES = Overrides()
MOST_NAMED = 10  # lines without effect in a warning
PLAYERS = re.compile(r"\b(\d+|two|three|four|five|six) (?=\w)")
COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairConfig:
    """Which texts become pairs."""

    min_align_score: float = 0.0  # texts below are filtered: unsure_movement
    min_words: int = 3  # texts below are filtered: short_text

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_align_score <= 1.0:
            raise UserError(f"pair.min_align_score {self.min_align_score} is not in 0..1")
        if self.min_words < 0:
            raise UserError(f"pair.min_words {self.min_words} is below 0")


@dataclass(frozen=True, slots=True)
class Text:
    """Consecutive sentences of a note about the same movements."""

    note: Note
    index: int  # among the texts of the notes of this source, from 0
    raw: str
    movements: tuple[int, ...]  # () = the whole work
    score: float  # of its least sure sentence
    flags: tuple[str, ...]
    method: str = ALIGN_METHOD
    by_hand: Mapping[str, Correction] = field(default_factory=dict)  # recording_id -> what is said


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a text's music lies in a recording; a refusal says why nowhere."""

    url: str
    youtube_id: str | None
    start_s: float | None = None
    end_s: float | None = None
    bounds_source: str = "unknown"
    refusal: str | None = None


def pair(data: Path, config: PairConfig, progress: Progress = silent) -> Summary:
    """Write pairs.parquet from works.jsonl; clips that were cut before keep their columns.

    Rows that were imported from a table stay. A person's corrections in overrides.csv are read
    anew each time. Raises UserError when there are no works or a correction is malformed.
    """
    with Ledger(data):
        overrides = read_overrides(data / OVERRIDES_NAME)
        works = read_works(data / WORKS_NAME)
        index = data / PAIRS_NAME
        old = {known.pair_id: known for known in load_pairs(index)} if index.is_file() else {}
        pairs = [known for known in old.values() if known.align_method == TABLE]
        for done, work in enumerate(works, 1):
            made = pair_work(work, config, overrides)
            pairs += [keep_cut(new, old.get(new.pair_id)) for new in made]
            progress(done, len(works))
        new = {row.pair_id: row for row in pairs}
        assert len(new) == len(pairs), "two pairs have one identity"
        if new != old or not index.is_file():
            write_pairs(index, pairs)
    warn_of_idle(overrides)
    return Summary(
        stage="pair",
        total=len(pairs),
        counts=count_states(pairs),
        artifact=index,
        details=figures(works, pairs) | figures_of(overrides),
        work_done=sum(old.get(row.pair_id) != row for row in pairs) + len(old.keys() - new.keys()),
    )


def figures(works: Sequence[Work], pairs: Sequence[Pair]) -> dict[str, int]:
    """What else is worth saying of a run."""
    texts = {(row.work_id, row.note_source, row.text_index) for row in pairs}
    return {
        "works": len(works),
        "works_without_prose": sum(not work.notes for work in works),
        "works_without_recording": sum(not work.recordings for work in works),
        "works_without_pair": len({work.work_id for work in works} - {p.work_id for p in pairs}),
        "texts": len(texts),
    }


def figures_of(overrides: Overrides) -> dict[str, int]:
    """How many corrections found a text and how many none; nothing when there are none."""
    idle = len(overrides.idle())
    if not overrides.all:
        return {}
    return {"overrides": len(overrides.all) - idle, "overrides without effect": idle}


def warn_of_idle(overrides: Overrides) -> None:
    """Name the corrections that found no text, in one line."""
    idle = overrides.idle()
    if idle:
        named = ", ".join(f"{one.line} ({one.target!r})" for one in idle[:MOST_NAMED])
        more = f" and {len(idle) - MOST_NAMED} more" if len(idle) > MOST_NAMED else ""
        logger.warning("%s: no text is what these lines name: %s%s", OVERRIDES_NAME, named, more)


def count_states(pairs: Iterable[Pair]) -> dict[str, int]:
    """Rows by status with the class or reason: "ok", "failed: gone", "filtered: too_short"."""
    counts: Counter[str] = Counter()
    for row in pairs:
        why = row.error_class if row.status == State.FAILED else row.filter_reason
        counts[f"{row.status}: {why}" if why else str(row.status)] += 1
    return dict(sorted(counts.items()))


def keep_cut(new: Pair, old: Pair | None) -> Pair:
    """`new` with the cut of `old`, if `old` was cut as `new` asks."""
    if old is None or new.status != State.PENDING or old.stage == "pair":
        return new
    resolved = new.bounds_source == "unknown" and old.bounds_source in ("chapter", "description")
    same_source = new.source_url == old.source_url
    same_bounds = (new.start_s, new.end_s) == (old.start_s, old.end_s)
    if not (same_source and (same_bounds or resolved)):
        return new
    kept = dataclasses.replace(new, **{name: getattr(old, name) for name in CUT_COLUMNS})
    if not resolved:  # equal bounds may be from elsewhere now
        kept = dataclasses.replace(kept, bounds_source=new.bounds_source)
    return dataclasses.replace(kept, redistributable=may_be_passed_on(kept))


def may_be_passed_on(row: Pair) -> bool:
    """Whether both the text and the audio are known to be free."""
    return is_free(row.text_rights) and is_free(row.audio_rights)


def is_free(rights: str) -> bool:
    """Whether rights allow passing on and changing: CC0, CC BY (SA), public domain."""
    return FREE.search(rights) is not None and RESTRICTED.search(rights) is None


def pair_work(work: Work, config: PairConfig, overrides: Overrides = NO_OVERRIDES) -> list[Pair]:
    """Every text of a work x every recording of it, as a person has corrected them."""
    return [
        make_pair(work, text, recording, config)
        for text in (correct(text, work, overrides) for text in work_texts(work))
        for recording in work.recordings
    ]


def correct(text: Text, work: Work, overrides: Overrides) -> Text:
    """A text with what a person says of it: its movements, and the rest a recording."""
    if not overrides.all:
        return text
    keys = [recording.recording_id for recording in work.recordings]

    def ids(movements: tuple[int, ...]) -> list[str]:
        note, index = text.note.source, text.index
        return [pair_id(work.work_id, movements, note, index, key) for key in keys]

    past = overrides.movements(work.work_id, text.movements, ids)
    refuse_beyond(work, past[1:])
    every = [ids(movements) for movements in past]  # a list a reading, an id a recording
    flat = [key for listed in every for key in listed]
    said = {
        key: overrides.correction(work.work_id, past[-1], [one[place] for one in every], flat)
        for place, key in enumerate(keys)
    }
    told = {key: correction for key, correction in said.items() if correction.lines}
    if len(past) == 1:
        return dataclasses.replace(text, by_hand=told)
    return dataclasses.replace(
        text,
        movements=past[-1],
        score=1.0,
        flags=tuple(flag for flag in text.flags if flag in OF_PROSE),
        method=OVERRIDE,
        by_hand=told,
    )


def work_texts(work: Work) -> list[Text]:
    """The texts of all notes; notes are read one by one, the same source counts on."""
    names = movement_names(work)
    counts: Counter[str] = Counter()
    texts = []
    for note in work.notes:
        for text in note_texts(note, names, counts[note.source]):
            texts.append(text)
            counts[note.source] += 1
    return texts


def movement_names(work: Work) -> list[str]:
    """Names of movements 1..n; from the recordings when the page has no list."""
    names = {part.movement: part.name for r in work.recordings for part in r.parts if part.movement}
    names.update({movement.number: movement.name for movement in work.movements})
    return [names.get(number, "") for number in range(1, max(names, default=0) + 1)]


def note_texts(note: Note, names: Sequence[str], first: int = 0) -> list[Text]:
    """Consecutive sentences of the same movements, joined; remarks are left out.

    A new paragraph that does not name its movement begins a text of its own. A note whose
    movements are given is one text.
    """
    if note.movements is not None:
        flags = (*note.flags, *(("fragment",) if is_fragment(note.text) else ()))
        return [Text(note, first, note.text, note.movements, 1.0, tuple(sorted(flags)), GIVEN)]
    groups: list[list[Reading]] = []
    for reading in read_note(note.text, names):
        guessed = reading.fresh and "by_order" in reading.flags
        if guessed or not groups or groups[-1][0].movements != reading.movements:
            groups.append([])
        groups[-1].append(reading)
    spoken = [group for group in groups if group[0].movements]
    return [join(note, group, index) for index, group in enumerate(spoken, first)]


def join(note: Note, group: Sequence[Reading], index: int) -> Text:
    """One text of consecutive sentences."""
    raw = " ".join(reading.sentence for reading in group)
    flags = {flag for reading in group for flag in reading.flags if flag != "by_order"}
    guessed = sum("by_order" in reading.flags for reading in group)
    if guessed:
        flags.add("by_order" if guessed == len(group) else "partly_by_order")
    if is_fragment(raw):
        flags.add("fragment")
    score = min(reading.score for reading in group)
    return Text(note, index, raw, group[0].movements, score, tuple(sorted(flags)))


def is_fragment(raw: str) -> bool:
    """Whether a text begins or ends within a sentence."""
    return raw[:1].islower() or raw.rstrip("\"'”’)]")[-1:] not in ".!?…"


def stretch(text: Text, work: Work, recording: Recording) -> Stretch:
    """Where the movements of a text lie in a recording: one stretch of one source, or none."""
    wanted = text.movements or (0,)
    parts = [part for part in recording.parts if part.movement in wanted]
    if {part.movement for part in parts} == set(wanted):
        return of_parts(parts, recording)
    whole = [part for part in recording.parts if part.movement == 0]
    if len(whole) == 1:
        url, key = whole[0].url, whole[0].youtube_id
        return Stretch(url, key, bounds_source="file" if len(work.movements) == 1 else "unknown")
    reason = "work_in_several_files" if whole else "movement_not_recorded"
    first = (parts or whole or recording.parts or (None,))[0]
    return Stretch(first.url if first else "", first.youtube_id if first else None, refusal=reason)


def of_parts(parts: Sequence[Part], recording: Recording) -> Stretch:
    """From the start of the first part to the end of the last, if one source has them all."""
    first, last = parts[0], parts[-1]
    if len({part.url for part in parts}) > 1:
        several = len({part.movement for part in parts}) > 1
        reason = "movements_in_two_files" if several else "movement_in_several_files"
        return Stretch(first.url, first.youtube_id, refusal=reason)
    alone = len(parts) == 1 == sum(part.url == first.url for part in recording.parts)
    if first.start_s is None and last.end_s is None:
        bounds = "file" if alone else "unknown"
    else:
        bounds = "page"
    return Stretch(first.url, first.youtube_id, first.start_s, last.end_s, bounds)


def refuse_beyond(work: Work, given: Iterable[tuple[int, ...]]) -> None:
    """UserError for a movement by hand that the work has not."""
    last = len(movement_names(work))
    beyond = [movements[-1] for movements in given if movements and movements[-1] > last]
    if last and beyond:
        raise UserError(
            f"{OVERRIDES_NAME} gives a text of {work.work_id} movement {beyond[0]}: the work has "
            f"movements 1 to {last}"
        )


def moved(where: Stretch, said: Correction, whole: bool) -> Stretch:
    """A stretch with the video and the bounds that a person gave.

    The page's bounds are those of its own video: those in another are looked for when it is
    fetched, unless the music is the whole of it. UserError when a stretch ends before it begins.
    """
    if said.video is not None:
        found = "file" if whole else "unknown"
        where = Stretch(said.video.url, said.video.youtube_id, bounds_source=found)
    if not said.bounds:
        return where
    start_s = said.bounds.get("start_s", where.start_s)
    end_s = said.bounds.get("end_s", where.end_s)
    if end_s is not None and end_s <= (start_s or 0.0):
        lines = ", ".join(map(str, said.lines))
        raise UserError(
            f"{OVERRIDES_NAME} line {lines}: from {start_s or 0.0:g} s to {end_s:g} s is no "
            "stretch: give a start_s below end_s"
        )
    return dataclasses.replace(where, start_s=start_s, end_s=end_s, bounds_source=OVERRIDE)


def make_pair(work: Work, text: Text, recording: Recording, config: PairConfig) -> Pair:
    """One row of the index, pending or filtered."""
    said = text.by_hand.get(recording.recording_id, Correction())
    caption = said.caption or clean(text.raw)
    alone = not text.movements or len(work.movements) == 1
    where = moved(stretch(text, work, recording), said, whole=alone)
    refusal = DROPPED if said.dropped else where.refusal or refuse(text, caption, config)
    corrected = said.lines or text.method == OVERRIDE
    names = dict(enumerate(movement_names(work), start=1))
    name = names.get(text.movements[0]) or None if text.movements else None
    credit = text.note.credit
    return Pair(
        pair_id=pair_id(
            work.work_id, text.movements, text.note.source, text.index, recording.recording_id
        ),
        work_id=work.work_id,
        level=Level.MOVEMENT if text.movements else Level.WORK,
        movements=text.movements,
        recording_id=recording.recording_id,
        caption=caption,
        caption_raw=text.raw,
        note_source=text.note.source,
        text_index=text.index,
        num_words=num_words(caption),
        num_tokens=num_tokens(caption),
        align_method=text.method,
        align_score=text.score,
        align_flags=tuple(sorted({*text.flags, OVERRIDDEN})) if corrected else text.flags,
        composer=work.composer.name,
        title=work.title,
        opus=work.opus or opus_of(work.title),
        key=work.key,
        mode=mode_of(work),
        year=year_of(work),
        instrumentation=work.instrumentation,
        ensemble=ensemble_of(work),
        movement_name=name,
        tempo_class=tempo_class(name or ""),
        performers=recording.performers,
        source_url=where.url,
        youtube_id=where.youtube_id,
        start_s=where.start_s,
        end_s=where.end_s,
        bounds_source=where.bounds_source,
        status=State.FILTERED if refusal else State.PENDING,
        filter_reason=refusal,
        page_url=work.page_url,
        page_sha256=work.page_sha256,
        text_rights=credit or "unknown",
        audio_rights="unknown",
        redistributable=is_free(credit or ""),
    )


def refuse(text: Text, caption: str, config: PairConfig) -> str | None:
    """Why a text becomes no example, whatever its recording."""
    if text.score < config.min_align_score:
        return "unsure_movement"
    return "short_text" if num_words(caption) < config.min_words else None


def mode_of(work: Work) -> str | None:
    """major or minor, from the key or else the title."""
    found = re.search(r"\b(major|minor)\b", work.key or work.title, re.IGNORECASE)
    return found[1].lower() if found else None


def opus_of(title: str) -> str | None:
    """The opus or catalogue number at the end of a title."""
    found = re.search(
        r"\b(?:Op|WoO|K|D|B|Hob|BWV|FP|Sz|BB|Wq|G)\b\.? ?[\dIVXL]+\w*(?:, No\. ?\d+)?", title
    )
    return found[0] if found else None


def year_of(work: Work) -> int | None:
    """Year of composition, the last one of several; ages in parentheses are no years."""
    years = re.findall(r"\b(1[4-9]\d\d|20\d\d)\b", work.facts.get("Composed", ""))
    return int(years[-1]) if years else None


def ensemble_of(work: Work) -> str | None:
    """quartet, trio, ...: from the title, else from the number of players."""
    words = re.findall(r"\w+", work.title.lower())
    for name in ENSEMBLES:
        if name in words:
            return name
    players = count_players(work.instrumentation or "")
    named = {2: "duo", 3: "trio", 4: "quartet", 5: "quintet", 6: "sextet", 7: "septet", 8: "octet"}
    return named.get(players)


def count_players(instrumentation: str) -> int:
    """Players of "2 violins, viola and cello"."""
    total = 0
    for item in re.split(r",| and |&", instrumentation):
        if item.strip():
            number = PLAYERS.match(item.strip().lower())
            total += (COUNTS.get(number[1]) or int(number[1])) if number else 1
    return total
