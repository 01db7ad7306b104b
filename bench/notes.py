"""Notes whose sentences' movements are known: the study's texts joined again, remarks mixed in."""

import random
import re
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crawler.items import Work, read_works
from crawler.released import import_released
from dataset.pairing import movement_names

PARAGRAPHS = Path(__file__).parent / "paragraphs"
FIRST_GONE = 0.5  # how often the first text is the one that a partial note lacks
BEFORE, BETWEEN, AFTER = 0.7, 0.15, 0.5  # how often a remark stands there


@dataclass(frozen=True, slots=True)
class TrueNote:
    """A note and what each stretch of it speaks of."""

    work_id: str
    names: tuple[str, ...]  # of the movements, in order
    pieces: tuple[tuple[str, int], ...]  # text and its movement, 0 = none; joined by what is below
    breaks: tuple[str, ...]  # between the pieces: a space or a paragraph's break

    @property
    def text(self) -> str:
        """The note as a page would print it."""
        joined = self.pieces[0][0]
        for gap, (piece, _) in zip(self.breaks, self.pieces[1:], strict=True):
            joined += gap + piece
        return joined

    def truth(self, sentences: Sequence[str]) -> list[int]:
        """For each sentence the movement that most of its letters speak of."""
        letters = [number for piece, number in self.pieces for sign in piece if not sign.isspace()]
        found, at = [], 0
        for sentence in sentences:
            own = letters[at : at + len("".join(sentence.split()))]
            at += len(own)
            found.append(max(dict.fromkeys(own), key=own.count))
        assert at == len(letters), "the sentences are not the note's"
        return found


def study_works(folder: Path) -> list[Work]:
    """The works of the 2022 study's files that have texts."""
    with tempfile.TemporaryDirectory() as data:
        import_released(Path(data), folder)
        return [work for work in read_works(Path(data) / "works.jsonl") if work.notes]


def clean_note(work: Work) -> TrueNote:
    """A work's texts in their order as one paragraph."""
    pieces = [(note.text, note.movements[0]) for note in work.notes if note.movements]
    pieces = sorted(
        ((re.sub(r"\s+", " ", text).strip(), n) for text, n in pieces), key=lambda p: p[1]
    )
    names = tuple(movement_names(work))
    return TrueNote(work.work_id, names, tuple(pieces), (" ",) * (len(pieces) - 1))


def partial_note(note: TrueNote) -> TrueNote:
    """The note without one of its texts: the first of every other note, else one of the middle."""
    chance = random.Random(f"{note.work_id} partial")
    last = len(note.pieces) - 1
    gone = 0 if chance.random() < FIRST_GONE or last < 2 else chance.randrange(1, last)
    pieces = tuple(piece for place, piece in enumerate(note.pieces) if place != gone)
    return TrueNote(note.work_id, note.names, pieces, (" ",) * (len(pieces) - 1))


def read_paragraphs(name: str) -> dict[str, list[str]]:
    """Remarks of a set ("fit" or "test") by their kind."""
    table = tomllib.loads((PARAGRAPHS / f"{name}.toml").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {"biography": [], "work": []}
    for item in table["paragraph"]:
        found[item["kind"]].append(" ".join(item["text"].split()))
    return found


def mixed_note(note: TrueNote, remarks: dict[str, list[str]], seed: int) -> TrueNote:
    """The note with remarks before, between and after its texts."""
    chance = random.Random(f"{note.work_id} {seed}")

    def remark(kind: str) -> tuple[str, int]:
        return chance.choice(remarks[kind]), 0

    pieces: list[tuple[str, int]] = []
    breaks: list[str] = []

    def add(piece: tuple[str, int], gap: str) -> None:
        if pieces:
            breaks.append(gap)
        pieces.append(piece)

    def gap() -> str:
        return "\n\n" if chance.random() < 0.5 else " "

    if chance.random() < BEFORE:
        add(remark("biography"), gap())
    if chance.random() < BEFORE:
        add(remark("work"), gap())
    for place, piece in enumerate(note.pieces):
        if place and chance.random() < BETWEEN:
            add(remark(chance.choice(("biography", "work"))), gap())
            add(piece, gap())
        else:
            add(piece, " " if place else gap())
    if chance.random() < AFTER:
        add(remark(chance.choice(("biography", "work"))), gap())
    return TrueNote(note.work_id, note.names, tuple(pieces), tuple(breaks))
