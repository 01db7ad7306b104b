"""The pair stage: every text about a movement x every recording of the work."""

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.items import Note, Work, read_works
from crawler.ledger import Ledger, State
from crawler.summary import Progress, Summary, silent
from dataset.captions import BIOGRAPHY, Reading, read_note
from dataset.cleaning import CleanConfig, clean, num_tokens, num_words
from dataset.doubts import shared_videos
from dataset.index import PAIRS_NAME, load_pairs, write_pairs
from dataset.neartexts import with_text_groups
from dataset.overrides import OVERRIDE, OVERRIDES_NAME, Correction, Overrides, read_overrides
from dataset.pairs import Level, Pair, pair_id
from dataset.recordings import POLICIES, Take, moved, movement_names, stretch, takes, unanswered
from dataset.tags import ensemble_of, instruments_of, mode_of, opus_of, tempo_class

logger = logging.getLogger(__name__)

WORKS_NAME = "works.jsonl"
ALIGN_METHOD = "fitted-field-1"  # dataset/alignment.py
GIVEN = "given"  # the note came with its movements
ALTERNATE = "alternate"  # reason of rows that would be pending, had their recording been chosen
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
FREE = re.compile(
    r"\bCC0\b|\bCC[ -]BY\b|\bCreative Commons (?:Attribution|Zero)\b|\bpublic domain\b"
    r"|creativecommons\.org/(?:publicdomain|licenses/by)\b",
    re.IGNORECASE,
)
RESTRICTED = re.compile(r"\bN[CD]\b|\bnon-?commercial|\bno-?deriv|\bnot\b", re.IGNORECASE)
OF_PROSE = ("fragment", "no_number", "same_sent_id", "sound_bite")  # flags of no alignment
NO_OVERRIDES = Overrides()
MOST_NAMED = 10  # lines without effect in a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class PairConfig:
    """Which texts become pairs, with which recordings."""

    min_align_score: float = 0.0  # texts below are filtered: unsure_movement
    min_words: int = 3  # texts below, and empty ones, are filtered: short_text
    max_words: int = 500  # texts above are filtered: long_text; the study's longest has 489
    work_remarks: bool = False  # pair remarks on the whole work too, else filtered: work_remark
    recordings: str = "first_complete"  # a name of POLICIES; rows of others: filtered, alternate
    clean: CleanConfig = field(default_factory=CleanConfig)

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_align_score <= 1.0:
            raise UserError(f"pair.min_align_score {self.min_align_score} is not in 0..1")
        if self.min_words < 0:
            raise UserError(f"pair.min_words {self.min_words} is below 0")
        if self.max_words < self.min_words:
            raise UserError(
                f"pair.max_words {self.max_words} is below pair.min_words {self.min_words}"
            )
        if self.recordings not in POLICIES:
            raise UserError(f"pair.recordings {self.recordings!r} is none of {', '.join(POLICIES)}")


@dataclass(frozen=True, slots=True)
class Text:
    """Consecutive sentences of a note about the same movements, or about none."""

    note: Note
    index: int  # among the texts of the notes of this source, from 0
    raw: str
    movements: tuple[int, ...]  # () = the whole work
    score: float  # of its least sure sentence
    flags: tuple[str, ...]
    method: str = ALIGN_METHOD
    remark: str | None = None  # kind of a text that was read as one: biography or work
    by_hand: Mapping[str, Correction] = field(default_factory=dict)  # recording_id -> what is said


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
        shared = shared_videos(works)
        for done, work in enumerate(works, 1):
            made = pair_work(work, config, overrides, shared)
            pairs += [keep_cut(new, old.get(new.pair_id)) for new in made]
            progress(done, len(works))
        pairs = with_text_groups(pairs)
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


def figures(works: Sequence[Work], pairs: Sequence[Pair]) -> dict[str, Any]:
    """What else is worth saying of a run: counts, and rows by level, method and flag."""
    texts = {(row.work_id, row.note_source, row.text_index) for row in pairs}
    return {
        "works": len(works),
        "works_without_prose": sum(not work.notes for work in works),
        "works_without_recording": sum(not work.recordings for work in works),
        "works_without_pair": len({work.work_id for work in works} - {p.work_id for p in pairs}),
        "texts": len(texts),
        "levels": counted("level", (row.level for row in pairs)),
        "methods": counted("method", (row.align_method for row in pairs)),
        "flags": counted("flag", (flag for row in pairs for flag in row.align_flags)),
    }


def counted(name: str, values: Iterable[str]) -> list[dict[str, Any]]:
    """A row a value: how many rows of the index have it."""
    return [{name: value, "rows": number} for value, number in sorted(Counter(values).items())]


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


def pair_work(
    work: Work,
    config: PairConfig,
    overrides: Overrides = NO_OVERRIDES,
    shared: Collection[tuple[str, str]] = (),
) -> list[Pair]:
    """Every text of a work x every recording of it, as a person has corrected them.

    `shared` is what `shared_videos` found.
    """
    found = takes(work, config.recordings, shared)
    texts = [correct(text, work, overrides) for text in work_texts(work)]
    return [make_pair(work, text, take, config) for text in texts for take in found]


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
        remark=None,
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


def note_texts(note: Note, names: Sequence[str], first: int = 0) -> list[Text]:
    """Consecutive sentences of the same movements, or remarks of one kind, joined.

    A new paragraph that does not name its movement begins a text of its own. A note whose
    movements are given is one text.
    """
    if note.movements is not None:
        flags = (*note.flags, *(("fragment",) if is_fragment(note.text) else ()))
        return [Text(note, first, note.text, note.movements, 1.0, tuple(sorted(flags)), GIVEN)]
    groups: list[list[Reading]] = []
    for reading in read_note(note.text, names):
        guessed = reading.fresh and "by_order" in reading.flags
        if guessed or not groups or about(groups[-1][0]) != about(reading):
            groups.append([])
        groups[-1].append(reading)
    return [join(note, group, index) for index, group in enumerate(groups, first)]


def about(reading: Reading) -> tuple[tuple[int, ...], str | None]:
    """What neighbouring sentences of one text have in common."""
    return reading.movements, reading.remark


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
    movements, remark = about(group[0])
    return Text(note, index, raw, movements, score, tuple(sorted(flags)), remark=remark)


def is_fragment(raw: str) -> bool:
    """Whether a text begins or ends within a sentence."""
    return raw[:1].islower() or raw.rstrip("\"'”’)]")[-1:] not in ".!?…"


def refuse_beyond(work: Work, given: Iterable[tuple[int, ...]]) -> None:
    """UserError for a movement by hand that the work has not."""
    last = len(movement_names(work))
    beyond = [movements[-1] for movements in given if movements and movements[-1] > last]
    if last and beyond:
        raise UserError(
            f"{OVERRIDES_NAME} gives a text of {work.work_id} movement {beyond[0]}: the work has "
            f"movements 1 to {last}"
        )


def make_pair(work: Work, text: Text, take: Take, config: PairConfig) -> Pair:
    """One row of the index, pending or filtered."""
    recording = take.recording
    said = text.by_hand.get(recording.recording_id, Correction())
    caption = said.caption or clean(text.raw, config.clean)
    alone = not text.movements or len(work.movements) == 1
    where = stretch(text.movements, work, recording)
    where = moved(where, said, whole=alone, chosen=take.chosen)
    refusal = DROPPED if said.dropped else refuse(text, caption, config)
    refusal = refusal or (take.refusal if said.video is None else None) or where.refusal
    if refusal is None and not take.chosen:
        refusal = ALTERNATE
    flags = unanswered({*text.flags, *take.against(text.movements)}, said)
    if said.lines or text.method == OVERRIDE:
        flags.add(OVERRIDDEN)
    names = dict(enumerate(movement_names(work), start=1))
    name = names.get(text.movements[0]) or None if text.movements else None
    credit = text.note.credit
    return Pair(
        pair_id=pair_id(
            work.work_id, text.movements, text.note.source, text.index, recording.recording_id
        ),
        work_id=work.work_id,
        level=level_of(text.movements, len(names)),
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
        align_flags=tuple(sorted(flags)),
        composer=work.composer.name,
        title=work.title,
        opus=work.opus or opus_of(work.title),
        key=work.key,
        mode=mode_of(work.title, work.key),
        year=year_of(work),
        instrumentation=work.instrumentation,
        instruments=instruments_of(work.title, work.instrumentation),
        ensemble=ensemble_of(work.title, work.instrumentation),
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


def level_of(movements: tuple[int, ...], last: int) -> Level:
    """How much of a work of so many movements a text speaks of."""
    if len(movements) == 1:
        return Level.MOVEMENT
    return Level.PART if 0 < len(movements) < last else Level.WORK


def refuse(text: Text, caption: str, config: PairConfig) -> str | None:
    """Why a text becomes no example, whatever its recording."""
    if text.remark == BIOGRAPHY:
        return "biography"
    if text.remark and not config.work_remarks:
        return "work_remark"
    if text.score < config.min_align_score:
        return "unsure_movement"
    if num_words(caption) < max(config.min_words, 1):
        return "short_text"
    return "long_text" if num_words(caption) > config.max_words else None


def year_of(work: Work) -> int | None:
    """Year of composition, the last one of several; ages in parentheses are no years."""
    years = re.findall(r"\b(1[4-9]\d\d|20\d\d)\b", work.facts.get("Composed", ""))
    return int(years[-1]) if years else None
