"""Why the sentences of a work have their movements, and which texts of an index are least sure."""

import difflib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from crawler.errors import UserError
from crawler.items import Note, Work
from dataset.captions import Reading, read_note
from dataset.cleaning import TYPOGRAPHY, clean
from dataset.overrides import NONE, work_key
from dataset.pairing import ALTERNATE, DROPPED, TABLE
from dataset.pairs import Pair
from dataset.recordings import movement_names
from dataset.tags import tempo_class

FIRST_WORDS = 12  # of a text in a list
NEAREST = 3  # slugs named when one is unknown
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the notes of one work were read."""

    work_id: str
    notes: Sequence[tuple[str, Sequence[Row]]]  # (source, a row a sentence)
    movements: Sequence[Row]

    def to_dict(self) -> Row:
        """Plain JSON values."""
        return {
            "work": self.work_id,
            "notes": [{"source": source, "sentences": list(rows)} for source, rows in self.notes],
            "movements": list(self.movements),
        }


def find_work(works: Sequence[Work], asked: str) -> Work:
    """The work of a slug or an address; UserError that names the nearest slugs when it is none."""
    key = work_key(asked)
    for work in works:
        if asked == work.work_id or key == work_key(work.work_id):
            return work
    if not works:
        raise UserError("works.jsonl holds no work: run `earscribe crawl` first")
    folded = {work.work_id.casefold(): work.work_id for work in works}
    near = difflib.get_close_matches(key.casefold(), folded, n=NEAREST, cutoff=0.5)
    hint = (
        "did you mean " + " or ".join(folded[name] for name in near) + "?"
        if near
        else f"there are {len(works)}, such as {works[0].work_id}"
    )
    raise UserError(f"no work {asked!r} in works.jsonl: {hint}")


def explain(work: Work) -> Explanation:
    """Every sentence of a work's notes as the pair stage reads it, before any correction."""
    names = movement_names(work)
    return Explanation(
        work.work_id,
        [(note.source, note_rows(note, names)) for note in work.notes],
        [
            {"movement": number, "name": name, "tempo": tempo_class(name)}
            for number, name in enumerate(names, start=1)
        ],
    )


def note_rows(note: Note, names: Sequence[str]) -> list[Row]:
    """A row a sentence; a note that came with its movements is one row."""
    if note.movements is None:
        readings = read_note(note.text, names)
    else:
        told = ("given with the note",)
        readings = [Reading(note.text, note.movements, 1.0, note.flags, True, evidence=told)]
    return [
        {
            "movements": list(reading.movements),
            "score": round(reading.score, 2),
            "sentence": clean(reading.sentence, TYPOGRAPHY),
            "flags": list(reading.flags),
            "evidence": list(reading.evidence),
        }
        for reading in readings
    ]


# ---------------------------------------------------------------- the least sure texts


def least_sure(pairs: Iterable[Pair], number: int) -> list[Row]:
    """The `number` texts of an index that are least sure, a row a text, the least sure first.

    Among equally sure ones those with more flags come first.

    A text stands for all its recordings, by a row that is not filtered if there is one. Rows of
    tables have no movements to doubt, alternates have the text of the recording that was taken,
    and what a person dropped is out of the question.
    """
    texts: dict[tuple[str, str, int], Pair] = {}
    for pair in sorted(pairs, key=by_use):
        if pair.align_method != TABLE and pair.filter_reason not in (ALTERNATE, DROPPED):
            texts.setdefault((pair.work_id, pair.note_source, pair.text_index), pair)
    return [
        review_row(pair)
        for _, pair in heapq.nsmallest(
            number,
            texts.items(),
            key=lambda item: (item[1].align_score, -len(item[1].align_flags), item[0]),
        )
    ]


def by_use(pair: Pair) -> tuple[bool, str, str]:
    """A key that puts what is not filtered first."""
    return pair.filter_reason is not None, pair.recording_id, pair.pair_id


def review_row(pair: Pair) -> Row:
    """What a person needs to see in order to agree or not."""
    words = pair.caption.split()
    return {
        "pair_id": pair.pair_id,
        "work": pair.work_id,
        "movements": list(pair.movements),
        "name": pair.movement_name,
        "score": round(pair.align_score, 2),
        "flags": list(pair.align_flags),
        "text": " ".join(words[:FIRST_WORDS]) + (" ..." if len(words) > FIRST_WORDS else ""),
        "override": confirmation(pair),
    }


def confirmation(pair: Pair) -> str:
    """The line of overrides.csv that confirms a text's movements; other numbers correct them."""
    value = " ".join(map(str, pair.movements)) or NONE
    return f"{pair.pair_id},,movements,{value},read again"
