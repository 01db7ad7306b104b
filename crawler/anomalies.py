"""What is odd in the 2022 study's records, as classes that are counted and flags of texts."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from crawler import grammar
from crawler.records import number
from crawler.studyfiles import Entry, Study, StudyText, movement_names

LONG_S = 1_200.0  # an entry this long is hardly one movement
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
ORDINAL = re.compile(rf"\b({'|'.join(ORDINALS)})\b[^.;,]{{0,20}}?\bmovement\b", re.IGNORECASE)
FINALE = re.compile(r"\bfinale\b|\b(?:last|final|closing|concluding) movement\b", re.IGNORECASE)
PLURAL = re.compile(r"\bmovements\b", re.IGNORECASE)
GLUED = re.compile(r"\b(?:Op|No)\.\d")
ODD = re.compile(r"[^\w\s.,;:!?'\"()\[\]&/%*+=#$£€<>°♭♯’‘“”„´`–—…-]|[¼½¾]")
PLAIN = frozenset(
    "molto quasi tempo troppo movement theme section finale three seven eight".split()
).union(ORDINALS)

EntryTest = Callable[[Entry], object]
TextTest = Callable[[StudyText], object]

ENTRIES: Mapping[str, EntryTest] = {  # class -> whether an entry is of it
    "got is text": lambda e: isinstance(e.raw.get("got"), str),
    "duration is a number": lambda e: isinstance(e.raw["duration"], int | float),
    "last next_video is text": lambda e: e.following is None and e.raw["next_video"] == "0",
    "last next_video is a number": lambda e: e.following is None and e.raw["next_video"] == 0,
    "movement_id is empty": lambda e: e.movement is None,
    "complete work": lambda e: e.movement == 0,
    "YouTube id is not of 11 characters": lambda e: len(str(e.raw.get("youtube_id") or "")) != 11,
    "YouTube id is not that of the video_id": lambda e: (
        str(e.raw.get("youtube_id") or e.youtube_id)[:11] != e.youtube_id
    ),
    "id begins with -": lambda e: e.youtube_id.startswith("-"),
    "id begins with _": lambda e: e.youtube_id.startswith("_"),
    "no end after a start": lambda e: e.start_s and not number(e.raw, "end"),
    "duration is not the interval": lambda e: (
        e.duration_s and number(e.raw, "end") and e.duration_s != (e.end_s or 0) - (e.start_s or 0)
    ),
    "empty name": lambda e: not e.name,
    "qualifier among the performers": lambda e: e.qualifiers,
    "numeral is not the movement": lambda e: (
        (line := grammar.movement(e.name)) and line.number != e.movement
    ),
    "20 minutes or longer": lambda e: (e.duration_s or 0) >= LONG_S,
}
WORKS: Mapping[str, Callable[[Sequence[Entry]], object]] = {  # of all entries of a work
    "several files for the complete work": lambda es: sum(e.movement == 0 for e in es) > 1,
    "movement in several files": lambda es: max(_numbers(es).values(), default=0) > 1,
    "movements missing": lambda es: _numbers(es) and len(_numbers(es)) < max(_numbers(es)),
    "some movements share a file": lambda es: 1 < len({e.youtube_id for e in es}) < len(es),
    "next_video is not the next": lambda es: (
        [e.following for e in es] != [*(e.video_id for e in es[1:]), None][: len(es)]
    ),
}
TEXTS: Mapping[str, TextTest] = {
    "sent_idx is text": lambda t: isinstance(t.raw["sent_idx"], str),
    "music_info is N/A": lambda t: not isinstance(t.raw.get("music_info"), Mapping),
    "no_number": lambda t: t.number is None,
    "number with other signs": lambda t: (
        t.number is not None and not re.match(r"\d+\. ", str(t.raw["sent_text"]))
    ),
    "number is not the movement": lambda t: t.number not in (None, t.movement),
    "begins in lower case": lambda t: t.text[0].islower(),
    "no stop at the end": lambda t: t.text.rstrip("\"'”’)]")[-1:] not in (*".!?…",),
    "another movement's ordinal first": lambda t: (
        (found := ORDINAL.search(t.text)) and ORDINALS.index(found[1].lower()) + 1 != t.movement
    ),
    "speaks_of_movements": lambda t: PLURAL.search(t.text),
    "curly quotes": lambda t: re.search("[“”‘’]", t.text),
    "unbalanced quotes": lambda t: t.text.count('"') % 2 or t.text.count("“") != t.text.count("”"),
    "double spaces": lambda t: "  " in str(t.raw["sent_text"]),
    "number glued to Op. or No.": lambda t: GLUED.search(t.text),
    "odd character": lambda t: ODD.search(t.text),
    "sound_bite": lambda t: re.search(r"\bsound ?bites?\b", t.text, re.IGNORECASE),
}
FLAGS = ("no_number", "speaks_of_movements", "sound_bite")  # the classes above that are flags
SUSPECT = "suspect_alignment"  # the one file of a work, called movement 1


def count(study: Study) -> list[dict[str, str | int]]:
    """A row for each class: its name, how many records are of it, the work of the first."""
    entries = [entry for stretches in study.videos.values() for entry in stretches]
    found = {
        **{name: [e.work_id for e in entries if test(e)] for name, test in ENTRIES.items()},
        **{
            name: [work_id for work_id, stretches in study.videos.items() if test(stretches)]
            for name, test in WORKS.items()
        },
        "video of two works": list(shared_videos(entries).values()),
        **_added(study),
        **{name: [t.work_id for t in study.texts if test(t)] for name, test in TEXTS.items()},
        **_among_texts(study),
    }
    rows: list[dict[str, str | int]] = [
        {"class": name, "count": len(slugs), "example": next(iter(slugs), "")}
        for name, slugs in found.items()
    ]
    return rows


def text_flags(study: Study) -> list[tuple[str, ...]]:
    """For every text what speaks against it or its movement."""
    relations = _relations(study)
    return [
        (
            *(name for name in FLAGS if TEXTS[name](text)),
            *(name for name, places in relations.items() if place in places),
        )
        for place, text in enumerate(study.texts)
    ]


def shared_videos(entries: Iterable[Entry]) -> dict[str, str]:
    """YouTube ids that stand under several works -> the first of these."""
    works: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        works[entry.youtube_id].append(entry.work_id)
    return {key: found[0] for key, found in works.items() if len(set(found)) > 1}


def _numbers(entries: Sequence[Entry]) -> Counter[int]:
    return Counter(entry.movement for entry in entries if entry.movement)


def _added(study: Study) -> dict[str, list[str]]:
    """Classes of the works added by hand."""
    lines = [(one.work_id, line) for one in study.added.values() for line in one.lines]
    forms = sorted({line.form for _, line in lines})
    own = {work_id: study.videos.get(work_id, ()) for work_id in study.added}
    return {
        "added by hand": list(study.added),
        "one file without a movement list": [w for w, one in study.added.items() if not one.lines],
        "added name differs from the typed one": [
            work_id
            for work_id, one in study.added.items()
            for entry, line in zip(own[work_id], one.lines, strict=False)
            if _letters(entry.name) not in _letters(line.text) or " - " in line.name
        ],
        "added last movement without an end": [
            work_id for work_id, es in own.items() if es and es[-1].start_s and es[-1].end_s is None
        ],
        "typed times differ from the entries": [
            work_id
            for work_id, one in study.added.items()
            if one.lines
            and [line.start_s or 0 for line in one.lines] != [e.start_s or 0 for e in own[work_id]]
        ],
        **{f"typed time: {form}": [w for w, line in lines if line.form == form] for form in forms},
    }


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text)


def _among_texts(study: Study) -> dict[str, list[str]]:
    """Classes of texts that need the other texts or the recording."""
    works: dict[str, set[str]] = defaultdict(set)
    for text in study.texts:
        works[text.text.casefold()].add(text.work_id)
    return {
        "text of several works": [sorted(found)[0] for found in works.values() if len(found) > 1],
        **{
            name: [study.texts[place].work_id for place in sorted(places)]
            for name, places in _relations(study).items()
        },
    }


def _relations(study: Study) -> dict[str, set[int]]:
    """Flags that need more than the text -> the positions of their texts."""
    seen = Counter((text.sent_id) for text in study.texts)
    last = {work_id: max(_numbers(es), default=0) for work_id, es in study.videos.items()}
    single = {work_id for work_id, one in study.added.items() if not one.lines}
    places = list(enumerate(study.texts))
    others = _names_another(study)
    return {
        "same_sent_id": {n for n, text in places if seen[text.sent_id] > 1},
        "names_finale": {
            n for n, t in places
            if FINALE.search(t.text) and t.movement < last.get(t.work_id, 0)
        },
        "names_another": set(others),
        "exchanged": {n for n, t in places if others.get(n, set()) & _moved(study, others, t)},
        SUSPECT: {n for n, text in places if text.work_id in single},
    }  # fmt: skip


def _names_another(study: Study) -> dict[int, set[int]]:
    """Texts that use words of other movements' names and none of their own -> those movements."""
    found = {}
    for place, text in enumerate(study.texts):
        names = {n: _terms(name) for n, name in movement_names(study, text.work_id).items()}
        used = _terms(text.text)
        others = {number for number, words in names.items() if words & used}
        if others and text.movement not in others:
            found[place] = others
    return found


def _moved(study: Study, others: Mapping[int, set[int]], text: StudyText) -> set[int]:
    """The movements whose own texts, in the work of `text`, name another too."""
    return {
        study.texts[place].movement for place in others
        if study.texts[place].work_id == text.work_id
    }  # fmt: skip


def _terms(text: str) -> set[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return {word for word in re.findall(r"[^\W\d_]{5,}", plain) if word not in PLAIN}
