"""Pairs to hear and read, for the report: which they are, and a card for each."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.summary import Progress
from dataset.decoding import AudioError, load_segment
from dataset.hypertext import CELL, LABEL, escape, isolated, shortened
from dataset.pairs import stable_id
from dataset.plots import data_uri, opus, spectrogram

SAMPLES = 24  # pairs shown at most
EXCERPT_S = 15.0  # of a sample's clip
EXCERPT_LETTERS = 400  # of its caption
Row = Mapping[str, Any]


def choose_samples(rows: Iterable[Row], number: int) -> list[Row]:
    """At most `number` rows in an order that does not change: every work once before any twice.

    The works come in no order of names, so that few samples are not of composers with A alone.
    """
    works: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: stable_id(row["pair_id"])):
        works.setdefault(row["work_id"], []).append(row)
    rounds = zip_longest(*(works[name] for name in sorted(works, key=stable_id)))
    return [row for turn in rounds for row in turn if row is not None][:number]


def cards(data: Path, chosen: Sequence[Row], of: int, progress: Progress) -> str:
    """The samples side by side; `of` so many pairs."""
    if not chosen:
        return '<p class="quiet">No pair has music yet: run <code>earscribe fetch</code>.</p>'
    shown = []
    for done, row in enumerate(chosen, start=1):
        shown.append(card(data, row))
        progress(done, len(chosen))
    told = (
        f"{len(chosen)} of {of:,} pairs, the first {EXCERPT_S:.0f} s of each clip. The pictures "
        "show these seconds from left to right, low notes below, high ones above, brighter where "
        "it is louder."
    )
    return f'<p class="quiet">{told}</p>\n<div class="grid">\n{"".join(shown)}\n</div>'


def card(data: Path, row: Row) -> str:
    """One pair: its sound, its text, what it is and where it is from."""
    movement = ", ".join(map(str, row["movements"]))
    opus_number = row["opus"] if row["opus"] and row["opus"] not in row["title"] else None
    title = f"{row['title']}, {opus_number}" if opus_number else row["title"]
    which = f"Movement {movement}" if movement else "Whole work"
    name = f" – {isolated(row['movement_name'], LABEL)}" if row["movement_name"] else ""
    return (
        f'<article class="sample">{player(data, row, title)}'
        f'<blockquote dir="auto">{clamped(row["caption"])}</blockquote>'
        f"<p><b>{isolated(row['composer'], LABEL)}: {isolated(title, LABEL)}</b><br>"
        f'{which}{name}</p><p class="quiet">{origin(row)}</p></article>\n'
    )


def origin(row: Row) -> str:
    """Who plays, how long, how sure, whose text under which rights."""
    names = isolated(", ".join(row["performers"]), LABEL)
    players = f"Played by {names}. " if row["performers"] else ""
    length_s = row["num_samples"] / row["sample_rate"]
    return (
        f"{players}{length_s:,.1f} s. "
        f"Sure of its movement: {row['align_score']:.2f}. "
        f"Text: {isolated(row['note_source'], LABEL)}; "
        f"rights: {isolated(row['text_rights'].rstrip('.'), LABEL)}. "
        f'Pair <span class="id">{escape(row["pair_id"])}</span>.'
    )


def clamped(caption: str) -> str:
    """A caption; what goes beyond EXCERPT_LETTERS is there on a click, and in print."""
    if len(caption) <= EXCERPT_LETTERS:
        return escape(caption)
    head = caption[:EXCERPT_LETTERS].rsplit(" ", 1)[0]
    rest = caption[len(head) :].lstrip()
    return f"{escape(head)} <details><summary>… more</summary>{escape(rest)}</details>"


def player(data: Path, row: Row, title: str) -> str:
    """Spectrogram and player of a clip, or a line that says why there is none.

    On paper a line names the clip instead of the player.
    """
    rate, name = row["sample_rate"], row["audio"]["path"]
    try:
        samples = load_segment(data / name, sample_rate=rate, duration_s=EXCERPT_S)
    except (AudioError, UserError, OSError) as error:
        return f'<p class="quiet missing">No sound: {isolated(error, CELL)}</p>'
    image = data_uri("image/png", spectrogram(samples, rate))
    sound = data_uri("audio/ogg", opus(samples, rate))
    label = escape(shortened(f"{row['composer']}: {title}", LABEL))
    return (
        f'<img alt="Spectrogram of {label}" src="{image}" width="480" height="96">'
        f'<audio controls preload="metadata" src="{sound}" aria-label="{label}"></audio>'
        f'<p class="quiet printed">To be heard in {escape(name)}</p>'
    )
