"""The 2022 study's released metadata -> works.jsonl, with a count of every kind of anomaly."""

import csv
import hashlib
import io
import logging
import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from crawler import grammar
from crawler.anomalies import count, text_flags
from crawler.errors import UserError
from crawler.files import write_atomic
from crawler.items import Movement, Note, Part, Person, Recording, Work, read_works, write_works
from crawler.ledger import LEDGER_NAME, Ledger, folder_lock
from crawler.pages import VIDEO_URL
from crawler.pipelines import STAGE as PAGES
from crawler.studyfiles import Entry, Study, bare_name, movement_names, read_study
from crawler.summary import Progress, Summary, silent
from crawler.urls import canonical

logger = logging.getLogger(__name__)

WORKS_NAME = "works.jsonl"
ORDER_NAME = "study_order.csv"  # the study's texts in its own order, as facts
SITE = "https://www.earsense.org"
SOURCE = "2022 study"  # of its texts: which page's note they are cut from is not said
CREDIT = "All rights reserved by their authors; released as data by the 2022 study"
SHOWN = 20  # refused records in the summary
# The first word of a title, wherever it stands in a slug; what stands before it is the composer.
TITLE = frozenset(
    "Chamber Cello Clarinet Concertino Divertimento Duo Fantaisie Fantasia Fantasy Flute Grand "
    "Horn Introduction Langsamer Nonet Novelettes Oboe Octet Phantasie Phantasy Piano Quartet "
    "Quintet Romance Romantische Rondo Septet Serenade Serenata Sextet Sonata String Suite Theme "
    "Trio Variations Verklarte Viola Violin Wind".split()
)


def import_released(data: Path, folder: Path, progress: Progress = silent) -> Summary:
    """Write works.jsonl from the study's files in `folder`.

    Each text is a note of its own that knows its movement; what speaks against that movement is
    a flag. UserError when a file is missing, or when `data` holds works from elsewhere.
    """
    study = read_study(folder)
    works = make_works(study)
    if not works:
        raise UserError(f"{folder} holds no work that can be read")
    path = data / WORKS_NAME
    with folder_lock(data):
        old = read_works(path) if path.is_file() else []
        _refuse_others(data, old)
        new = sorted(works, key=lambda work: work.work_id) != old
        if new:
            write_works(path, works)
        write_atomic(data / ORDER_NAME, order_of(study))
        progress(len(works), len(works))
    return Summary(
        stage="import",
        total=len(works),
        counts=dict(sorted(Counter(map(_end, works)).items())),
        artifact=path,
        details={
            **_figures(study, works),
            "works no longer there": len({w.work_id for w in old} - {w.work_id for w in works}),
        },
        work_done=len(works) if new else 0,
    )


def order_of(study: Study) -> bytes:
    """A line for each text of the study: work, movement, hash of the words."""
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    rows.writerows(text_key(text.work_id, text.movement, text.text) for text in study.texts)
    return lines.getvalue().encode()


def text_key(work_id: str, movement: object, text: str) -> tuple[str, str, str]:
    """What tells a text of the study by, however its white space is set."""
    digest = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
    return work_id, str(movement), digest


def _refuse_others(data: Path, old: Iterable[Work]) -> None:
    """UserError unless the folder holds nothing, or works of an earlier import of the study."""
    if (data / LEDGER_NAME).is_file():
        with Ledger(data, read_only=True) as ledger:
            if any(stage == PAGES for stage, *_ in ledger.counts()):
                raise UserError(f"a crawl has begun in {data}: give another folder with --data")
    for work in old:
        if work.page_sha256 is not None or {note.source for note in work.notes} - {SOURCE}:
            raise UserError(
                f"{data} holds works from elsewhere, such as {work.work_id}: "
                "give another folder with --data"
            )


def _end(work: Work) -> str:
    if not work.recordings:
        return "ok: no_recording"
    return "ok" if work.notes else "ok: no_prose"


def _figures(study: Study, works: Sequence[Work]) -> dict[str, Any]:
    """What the study holds, beside the ends of its works."""
    entries = [entry for stretches in study.videos.values() for entry in stretches]
    return {
        "works": len(works),
        "texts": len(study.texts),
        "notes": sum(len(work.notes) for work in works),
        "videos": len(entries),
        "youtube_ids": len({entry.youtube_id for entry in entries}),
        "refused records": len(study.refused),
        "refused": [
            {"file": one.file, "record": one.record, "reason": one.reason}
            for one in study.refused[:SHOWN]
        ],
        "anomalies": count(study),
    }


def make_works(study: Study) -> list[Work]:
    """Every work that the study has a video or a text of."""
    notes: dict[str, dict[tuple[int, str], Note]] = {}
    for text, flags in zip(study.texts, text_flags(study), strict=True):
        note = Note(
            source=SOURCE, text=text.text, credit=CREDIT, movements=(text.movement,), flags=flags
        )
        notes.setdefault(text.work_id, {}).setdefault((text.movement, text.text), note)
    slugs = {**dict.fromkeys(study.videos), **dict.fromkeys(notes)}
    names = composers(list(slugs))
    return [
        make_work(study, slug, names[slug], tuple(notes.get(slug, {}).values())) for slug in slugs
    ]


def make_work(study: Study, slug: str, composer: str, notes: Sequence[Note]) -> Work:
    """One work; its composer and title are read from its slug."""
    title = title_of(slug[len(composer) + 1 :])
    key, opus = grammar.KEY.search(title), grammar.OPUS.search(title)
    names = movement_names(study, slug)
    return Work(
        work_id=slug,
        page_url=canonical(slug, SITE),
        composer=Person(name=plain(composer).replace("-", " ")),
        title=title,
        key=key[1] if key else None,
        opus=opus[0] if opus else None,
        movements=tuple(Movement(number=n, name=names[n]) for n in sorted(names)),
        recordings=recordings(study.videos.get(slug, ()), names),
        notes=tuple(sorted(notes, key=lambda note: note.movements or ())),
    )


def recordings(entries: Sequence[Entry], names: dict[int, str]) -> tuple[Recording, ...]:
    """The one recording that the study kept of a work, its parts in their order."""
    if not entries:
        return ()
    parts = tuple(
        Part(
            video_id=entry.video_id,
            youtube_id=entry.youtube_id,
            url=VIDEO_URL.replace("{id}", entry.youtube_id),
            movement=entry.movement,
            start_s=entry.start_s,
            end_s=entry.end_s,
            duration_s=entry.duration_s,
            name=bare_name(entry.name) or names.get(entry.movement or 0, ""),
        )
        for entry in entries
    )
    return (
        Recording(
            recording_id=entries[0].video_id,
            performers=entries[0].performers,
            qualifiers=entries[0].qualifiers,
            parts=parts,
        ),
    )


# ---------------------------------------------------------------- what a slug says


def composers(slugs: Sequence[str]) -> dict[str, str]:
    """The part of each slug that is its composer's name.

    It ends before the first word of a title; a name that begins with that of another slug's
    composer is that composer. Where no word tells, the first two words are the name, also of the
    names that begin with them.
    """
    cut = {slug: _before_title(slug) for slug in slugs}
    known = {name for name in cut.values() if name}
    bases = {"-".join(s.split("-")[:2]) for s, name in cut.items() if not (name or _in(known, s))}
    known |= {base for base in bases if not base.rpartition("-")[2].islower()}  # "Ludwig-van"
    return {
        slug: _in(known, name or slug) or name or "-".join(slug.split("-")[:2])
        for slug, name in cut.items()
    }


def _in(known: Container[str], name: str) -> str | None:
    """The shortest known name that `name` begins with and goes beyond."""
    words = name.split("-")
    starts = ("-".join(words[:end]) for end in range(2, len(words)))
    return next((start for start in starts if start in known), None)


def _before_title(slug: str) -> str | None:
    words = slug.split("-")
    for place, word in enumerate(words[1:], start=1):
        if word in ("for", "in", "No", "Op"):  # a free title stands before it
            return None
        if word in TITLE or word[0:1].isdigit():
            return "-".join(words[:place])
    return None


def title_of(rest: str) -> str:
    """The title that a slug was made of, as far as can be told: "Trio in E-flat major, Op. 8"."""
    text = plain(rest).replace("-", " ")
    text = re.sub(r"\b([A-Ga-g]) (flat|sharp) (major|minor)\b", r"\1-\2 \3", text)
    text = re.sub(r" (Op|WoO|K|D|B|G|H|BWV|FP|Sz|BB|JB|RV|Wq) (\d)", r", \1. \2", text)
    text = re.sub(r"(, (?:WoO|BWV|FP|BB|JB|RV))\. ", r"\1 ", text)
    text = re.sub(r"(, (?:Op|K)\. \d+\w*) No (\d)", r"\1, No. \2", text)
    text = re.sub(r"(, (?:Op|K)\. \d+\w*),? No\.? (\d)", r"\1, No. \2", text)
    return re.sub(r"\bNo (\d)", r"No. \1", text)


def plain(part: str) -> str:
    """A piece of a slug with the signs that stand for others put back."""
    return part.replace("%27", "'").replace("_", ":")
