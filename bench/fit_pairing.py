"""Fit the alignment's weights to notes with truth: python -m bench.fit_pairing --released DIR."""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.notes import TrueNote, clean_note, mixed_note, partial_note, read_paragraphs, study_works
from dataset.alignment import (
    BACK,
    CUE,
    MOVEMENT,
    MOVES,
    NAMED,
    NEVER,
    ONWARD,
    REMARK,
    WEIGHTS_PATH,
    Features,
    Weights,
    features,
    moves,
)
from dataset.sentences import paragraphs

L2, L2_WORDS = 1.0, 30.0  # of all weights, and of those of single words: these may say little
STEPS = 150
FREQUENT = 12  # sentences that a word is in, at least, to have weights
FAINT = 0.03  # weights of words below are dropped
REPEATS = 2  # how often a clean note counts, and how often it is mixed with remarks
BATCH = 128  # notes


@dataclass(frozen=True, slots=True)
class Example:
    """A note, what it shows, and the movement of each sentence."""

    note: TrueNote
    sentences: tuple[str, ...]
    fresh: tuple[bool, ...]  # begins a paragraph
    shown: Features
    truth: tuple[int, ...]


def example(note: TrueNote) -> Example:
    """A note cut into sentences, with its features and its truth."""
    parts = paragraphs(note.text)
    sentences = [sentence for part in parts for sentence in part]
    fresh = [place == 0 for part in parts for place in range(len(part))]
    shown = features(sentences, fresh, note.names)
    return Example(note, tuple(sentences), tuple(fresh), shown, tuple(note.truth(sentences)))


def vocabulary(examples: Iterable[Example]) -> list[str]:
    """The words that are frequent enough to have weights."""
    counts = Counter(token for one in examples for tokens in one.shown.tokens for token in tokens)
    return sorted(word for word, number in counts.items() if number >= FREQUENT)


class Batch:
    """Notes of works with as many movements, padded. Letters as in dataset/alignment.py."""

    def __init__(self, examples: Sequence[Example], words: Sequence[str]) -> None:
        self.last = len(examples[0].note.names)
        number, longest = len(examples), max(len(one.truth) for one in examples)
        place = {word: index for index, word in enumerate(words)}
        self.movement = torch.zeros(number, longest, self.last, len(MOVEMENT))
        self.remark = torch.zeros(number, longest, len(REMARK))
        self.cues = torch.zeros(number, longest, len(CUE))
        self.named = torch.zeros(number, longest, self.last, len(NAMED))
        self.words = torch.zeros(number, longest, len(words))
        self.mask = torch.zeros(number, longest)
        self.path = torch.zeros(number, longest, dtype=torch.long)
        for b, one in enumerate(examples):
            length = len(one.truth)
            for name in ("movement", "remark", "cues", "named"):
                getattr(self, name)[b, :length] = torch.tensor(getattr(one.shown, name))
            for u, tokens in enumerate(one.shown.tokens):
                self.words[b, u, [place[token] for token in tokens if token in place]] = 1
            self.mask[b, :length] = 1
            self.path[b, :length] = torch.tensor(path_of(one.truth, self.last))
        kinds, times = moves(self.last)
        self.possible = torch.tensor(kinds >= 0)
        self.kinds = torch.tensor(kinds.clip(0))
        self.times = torch.tensor(times, dtype=torch.float32)


def path_of(truth: Sequence[int], last: int) -> list[int]:
    """The states that the movements of the sentences go through."""
    furthest, path = 0, []
    for number in truth:
        furthest = number or furthest
        path.append(last + number if number else furthest)
    return path


class Field(torch.nn.Module):
    """The conditional random field, for its gradient."""

    def __init__(self, words: int) -> None:
        super().__init__()

        def zeros(*shape: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.zeros(*shape))

        self.movement, self.remark = zeros(len(MOVEMENT)), zeros(len(REMARK))
        self.moves, self.named = zeros(len(MOVES), len(CUE)), zeros(len(MOVES), len(NAMED))
        self.end, self.words = zeros(2), zeros(words, 2)
        self.onward = torch.tensor(np.isin(MOVES, ONWARD).astype(np.float32))

    def scores(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As dataset.alignment.scores, with a batch dimension before."""
        last, states = batch.last, 2 * batch.last + 1
        said = batch.words @ self.words  # (B, U, 2)
        remark = batch.remark @ self.remark + said[..., 1]
        spoken = batch.movement @ self.movement
        here = torch.cat([remark[..., None].expand(-1, -1, last + 1), spoken], -1)
        cues = batch.cues @ self.moves.T + said[..., :1] * self.onward
        cues = cues.index_fill(-1, torch.tensor([MOVES.index("back")]), BACK)
        into = cues[:, :, batch.kinds] * batch.times
        named = batch.named @ self.named.T  # (B, U, M, MOVES)
        named = torch.nn.functional.pad(named, (0, 0, last + 1, 0))  # (B, U, S, MOVES)
        into = into + named[:, :, torch.arange(states), batch.kinds]
        into = into.masked_fill(~batch.possible, NEVER)
        left = last - torch.cat([torch.arange(last + 1), torch.arange(1, last + 1)])
        return here, into, left * self.end[0] + (left > 0) * self.end[1]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Minus the log-probability of the truth."""
        here, into, end = self.scores(batch)
        notes, length, states = here.shape
        ahead = into[:, 0, 0] + here[:, 0]
        path, mask = batch.path, batch.mask
        true = ahead.gather(1, path[:, :1])[:, 0]
        for u in range(1, length):
            step = torch.logsumexp(ahead[:, :, None] + into[:, u], 1) + here[:, u]
            ahead = torch.where(mask[:, u : u + 1] > 0, step, ahead)
            move = (path[:, u - 1] * states + path[:, u])[:, None]
            moved = into[:, u].reshape(notes, -1).gather(1, move)
            true = true + (moved + here[:, u].gather(1, path[:, u : u + 1]))[:, 0] * mask[:, u]
        ends = end[path.gather(1, (mask.sum(1).long() - 1)[:, None])[:, 0]]
        return (torch.logsumexp(ahead + end, 1) - true - ends).sum()

    def penalty(self) -> torch.Tensor:
        """What keeps the weights small."""
        plain = (self.movement, self.remark, self.moves, self.named, self.end)
        return L2 / 2 * sum((one**2).sum() for one in plain) + L2_WORDS / 2 * (self.words**2).sum()


def fit(examples: Sequence[Example]) -> Weights:
    """The weights that fit the examples best."""
    torch.set_num_threads(1)  # more only wait for each other
    words = vocabulary(examples)
    groups: dict[int, list[Example]] = defaultdict(list)
    for one in sorted(examples, key=lambda one: len(one.truth)):
        groups[len(one.note.names)].append(one)
    batches = [
        Batch(group[at : at + BATCH], words)
        for group in groups.values()
        for at in range(0, len(group), BATCH)
    ]
    field = Field(len(words))
    search = torch.optim.LBFGS(
        field.parameters(), max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        search.zero_grad()
        total = sum((field.loss(batch) for batch in batches), field.penalty())
        total.backward()
        return total

    search.step(closure)
    told = {
        name: getattr(field, name).detach().double().numpy()
        for name in ("movement", "remark", "moves", "named", "end", "words")
    }
    rounded = {name: np.round(values, 3) for name, values in told.items()}
    said = dict(zip(words, rounded.pop("words").tolist(), strict=True))
    kept = {word: (a, b) for word, (a, b) in said.items() if max(abs(a), abs(b)) >= FAINT}
    return Weights(**rounded, words=kept)


def examples_of(notes: Sequence[TrueNote], remarks: dict[str, list[str]]) -> list[Example]:
    """The notes to fit to: clean ones, with remarks mixed in, and without one of their texts."""
    mixed = [mixed_note(note, remarks, seed) for note in notes for seed in range(REPEATS)]
    partial = [partial_note(note) for note in notes if len(note.pieces) > 1]
    whole = [example(note) for note in notes] * REPEATS
    return whole + [example(note) for note in (*mixed, *partial)]


def toml_of(weights: Weights) -> str:
    """The weights as the text of alignment.toml."""

    def rows(names: Iterable[str], values: Iterable[float]) -> list[str]:
        return [f'"{name}" = {value:g}' for name, value in zip(names, values, strict=True) if value]

    lines = ["# Weights of dataset/alignment.py, written by bench/fit_pairing.py.", "[movement]"]
    lines += [*rows(MOVEMENT, weights.movement), "", "[remark]", *rows(REMARK, weights.remark)]
    for title, table, names in (("moves", weights.moves, CUE), ("named", weights.named, NAMED)):
        for kind, values in zip(MOVES, table, strict=True):
            if kind != "back" or title == "named":
                lines += ["", f"[{title}.{kind}]", *rows(names, values)]
    lines += ["", "[end]", f"each = {weights.end[0]:g}", f"any = {weights.end[1]:g}"]
    lines += ["", "# word = [for going on to another movement, for a remark]; ^ = at the beginning"]
    lines += ["[words]"]
    for word, said in weights.words.items():
        onward, remark = (value + 0.0 for value in said)  # + 0.0: no "-0"
        lines += [f'"{word}" = [{onward:g}, {remark:g}]']
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit to all works and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--released", type=Path, required=True, help="the study's files")
    parser.add_argument("--out", type=Path, default=WEIGHTS_PATH)
    given = parser.parse_args()
    begun = time.monotonic()
    notes = [clean_note(work) for work in study_works(given.released)]
    weights = fit(examples_of(notes, read_paragraphs("fit")))
    given.out.write_text(toml_of(weights), encoding="utf-8")
    print(f"wrote {given.out} after {len(notes)} notes, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
