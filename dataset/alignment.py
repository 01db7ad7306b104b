"""The sentences of a note x the movements of a work: the most probable way through them.

A conditional random field over a whole note. Its states are "a remark, movement f being the
furthest so far" and "speaks of movement m"; a note goes from one movement to the next, with remarks
anywhere, skips and returns at a price. Letters: U sentences, M movements, S = 2 M + 1 states, the
M + 1 remarks first. The weights in alignment.toml were fitted by bench/fit_pairing.py.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset.evidence import (
    CHARACTER,
    CUES,
    FAINT,
    KINDS,
    LIFE,
    REMARKS,
    ROLES,
    STRONG,
    WORDS,
    Mention,
    Movements,
    mentions,
    movements_of,
)

Array = NDArray[np.float64]

WEIGHTS_PATH = Path(__file__).with_name("alignment.toml")
CAP = 1.5  # evidence of one kind for a movement in a sentence is no more
SURE = 0.5  # a mention shared by more than two movements names none
HALF = 0.5  # a remark with a lower share is what is likeliest for its sentence
EXCHANGE = 0.5  # nats by which another order has to be better than that of the recording
BACK = -4.0  # to return to an earlier movement; the study's texts were put in order, so not fitted
NEVER = -1e6
MOST_SKIPPED = 2  # movements that are paid for: a note of the first and the sixth may name both
MOVES = (
    "rest", "leave", "resume", "enter_first", "enter_next", "stay", "next", "skip", "back"
)  # fmt: skip
ONWARD = ("enter_next", "next", "skip")  # moves that a sentence's words may speak for
NAMED = ("any", "strong_subject", "word_subject", "introduced", "strong_else")
INNER = ("slow", "moderate", "fast", "dance", "untold")  # characters of movements ...
OUTER = ("opening", "closing")
TRAITS = tuple(  # ... and which words go with which of them
    f"{words}@{trait}"
    for words in CHARACTER
    for trait in (OUTER if words in ("sonata", "end") else INNER)
)
MOVEMENT = (
    *KINDS, *(f"strong_{role}" for role in ROLES), *(f"words_{role}" for role in ROLES), *TRAITS,
    "place",
)  # fmt: skip
REMARK = (*REMARKS, "fresh", "first", "last", "no_mention", "length", "bias", "others_remark")
CUE = ("bias", "fresh", *CUES, "first")
END = ("each", "any")  # movement that a note did not come to, and that there is one
AT = {name: place for place, name in enumerate(MOVEMENT)}
MOST, LONG = 3, 20  # of a kind of words in a sentence; words of a sentence of length 1
TOKEN = re.compile(r"[a-z']+")


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the field, in natural log-odds."""

    movement: Array  # (MOVEMENT,)
    remark: Array  # (REMARK,)
    moves: Array  # (MOVES, CUE)
    named: Array  # (MOVES, NAMED): for a sentence that names the movement it goes to
    end: Array  # (2,): each movement that a note did not come to, and that there is one
    words: Mapping[str, tuple[float, float]]  # word -> for going on, for a remark


@dataclass(frozen=True, slots=True)
class Features:
    """What the sentences of a note show."""

    movement: Array  # (U, M, MOVEMENT)
    remark: Array  # (U, REMARK)
    cues: Array  # (U, CUE)
    named: Array  # (U, M, NAMED)
    tokens: tuple[frozenset[str], ...]  # words of each sentence; ^ marks its first
    mentions: tuple[tuple[Mention, ...], ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The best way through a note, and how sure it is."""

    movements: tuple[int, ...]  # of each sentence, 0 = a remark
    shares: Array  # (U, M + 1): probability of a remark and of each movement
    weight: float  # of the best way, in nats


# ------------------------------------------------------------------------------------------------
# What the sentences show


def features(sentences: Sequence[str], fresh: Sequence[bool], names: Sequence[str]) -> Features:
    """The features of a note; `fresh` marks sentences that begin a paragraph."""
    work = movements_of(tuple(names))
    number = len(sentences)
    movement = np.zeros((number, work.last, len(MOVEMENT)))
    remark = np.zeros((number, len(REMARK)))
    cues = np.zeros((number, len(CUE)))
    named = np.zeros((number, work.last, len(NAMED)))
    found = tuple(tuple(mentions(sentence, work)) for sentence in sentences)
    for u, (sentence, lower) in enumerate((one, one.lower()) for one in sentences):
        _point(found[u], movement[u], named[u])
        movement[u, :, AT["place"]] = _places(u, number, work.last)
        _characterise(lower, work, movement[u])
        counts = [min(len(words.findall(lower)), MOST) for words in REMARKS.values()]
        length = min(len(sentence.split()) / LONG, 2)
        nothing = not named[u, :, 0].any()
        remark[u] = [*counts, fresh[u], u == 0, u == number - 1, nothing, length, 1, 0]
        shown = [cue.search(sentence) is not None for cue in CUES.values()]
        cues[u] = [1, fresh[u], *shown, u == 0]
    telling = remark[:, [REMARK.index(name) for name in (*LIFE, "publish", "premiere")]].sum(1) > 1
    remark[:, -1] = np.minimum((telling.sum() - telling) / MOST, 1)
    return Features(movement, remark, cues, named, tuple(map(_tokens, sentences)), found)


def _point(found: Sequence[Mention], movement: Array, named: Array) -> None:
    """Write what the mentions of a sentence say for each movement: (M, MOVEMENT), (M, NAMED)."""
    for one in found:
        if one.aside:
            continue
        rows = [number - 1 for number in one.movements]
        family = "strong" if one.kind in STRONG else "words" if one.kind in WORDS else None
        for name in (one.kind, *([f"{family}_{one.role}"] if family else ())):
            column = AT[name]
            movement[rows, column] = np.minimum(movement[rows, column] + one.weight, CAP)
        if one.weight >= SURE and one.kind not in FAINT:
            named[rows, 0] = 1
            if place := _naming(family, one.role):
                named[rows, NAMED.index(place)] = 1


def _naming(family: str | None, role: str) -> str | None:
    """The kind of naming, one of NAMED, beside "any"."""
    if role == "subject" and family:
        return "strong_subject" if family == "strong" else "word_subject"
    if role == "introduced":
        return "introduced"
    return "strong_else" if family == "strong" else None


def _places(u: int, number: int, last: int) -> Array:
    """How far each movement's place in the work is from the sentence's in the note, negative."""
    there: Array = (np.arange(last) + 0.5) / max(last, 1)
    return -np.abs((u + 0.5) / number - there)


def _characterise(lower: str, work: Movements, movement: Array) -> None:
    """Write the words of character that a sentence has for movements that have it."""
    counts = {name: min(len(words.findall(lower)), 2) for name, words in CHARACTER.items()}
    for number in range(1, work.last + 1):
        for trait in work.characters(number):
            for name, count in counts.items():
                if count and (column := AT.get(f"{name}@{trait}")) is not None:
                    movement[number - 1, column] = count


def _tokens(sentence: str) -> frozenset[str]:
    words = TOKEN.findall(sentence.lower())
    return frozenset((*words, *(f"^{word}" for word in words[:1])))


# ------------------------------------------------------------------------------------------------
# What they weigh


@cache
def moves(last: int) -> tuple[NDArray[np.int64], Array]:
    """For each pair of states the kind of move (-1 = none) and how often it counts: (S, S)."""
    states = 2 * last + 1
    kinds, times = np.full((states, states), -1), np.ones((states, states))
    for before in range(states):
        speaks = before > last
        furthest = before - last if speaks else before
        kinds[before, furthest] = MOVES.index("leave" if speaks else "rest")
        for number in range(1, last + 1):
            kinds[before, last + number] = MOVES.index(_move(number - furthest, furthest, speaks))
            times[before, last + number] = min(max(number - furthest - 1, 1), MOST_SKIPPED)
    return kinds, times


def _move(step: int, furthest: int, speaks: bool) -> str:
    """The kind of move to a movement."""
    if step == 0:
        return "stay" if speaks else "resume"
    if step == 1:
        return "next" if speaks else "enter_next" if furthest else "enter_first"
    return "skip" if step > 1 else "back"


def scores(shown: Features, weights: Weights) -> tuple[Array, Array, Array]:
    """Of each sentence in each state (U, S), of each move into it (U, S, S), of each end (S)."""
    last = shown.movement.shape[1]
    kinds, times = moves(last)
    said = np.array([_said(tokens, weights.words) for tokens in shown.tokens])  # (U, 2)
    remark = shown.remark @ weights.remark + said[:, 1]
    spoken = shown.movement @ weights.movement
    here = np.concatenate([np.repeat(remark[:, None], last + 1, 1), spoken], 1)
    onward = np.isin(MOVES, ONWARD).astype(float)
    cues = shown.cues @ weights.moves.T + said[:, :1] * onward  # (U, MOVES)
    cues[:, MOVES.index("back")] = BACK
    named = shown.named @ weights.named.T  # (U, M, MOVES)
    named = np.concatenate([np.zeros((len(named), last + 1, len(MOVES))), named], 1)  # (U, S, ...)
    into = cues[:, kinds] * times
    into += named[:, np.arange(2 * last + 1), kinds]
    into[:, kinds < 0] = NEVER
    left = last - np.concatenate([np.arange(last + 1), np.arange(1, last + 1)])
    return here, into, left * weights.end[0] + (left > 0) * weights.end[1]


def _said(tokens: frozenset[str], words: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """What the words of a sentence weigh for going on and for a remark."""
    known = [words[token] for token in sorted(tokens & words.keys())]
    return sum(one[0] for one in known), sum(one[1] for one in known)


# ------------------------------------------------------------------------------------------------
# The way through


def align(shown: Features, weights: Weights) -> Alignment:
    """The best way through a note (Viterbi) and the share of each reading (forward-backward)."""
    here, into, end = scores(shown, weights)
    last = shown.movement.shape[1]
    ahead, best, steps = [into[0, 0] + here[0]], into[0, 0] + here[0], []
    for score, step in zip(here[1:], into[1:], strict=True):
        ahead.append(_log_sum(ahead[-1][:, None] + step, 0) + score)
        ways = best[:, None] + step
        steps.append(ways.argmax(0))
        best = ways.max(0) + score
    behind = [end]
    for score, step in zip(here[:0:-1], into[:0:-1], strict=True):
        behind.append(_log_sum(step + (score + behind[-1])[None, :], 1))
    path = [int((best + end).argmax())]
    for step in reversed(steps):
        path.append(int(step[path[-1]]))
    weighed = np.array(ahead) + np.array(behind[::-1])
    shares = np.exp(weighed - _log_sum(weighed, 1)[:, None])
    told = np.concatenate([shares[:, : last + 1].sum(1, keepdims=True), shares[:, last + 1 :]], 1)
    way = [max(state - last, 0) for state in reversed(path)]
    likely = told.argmax(1).tolist()
    held = [n if n or told[u, 0] >= HALF else likely[u] for u, n in enumerate(way)]
    return Alignment(tuple(held), told, float((best + end).max()))


def align_note(
    sentences: Sequence[str], fresh: Sequence[bool], names: Sequence[str], weights: Weights
) -> tuple[Features, Alignment, tuple[int, ...]]:
    """What a note shows, its best alignment, and the order in which it takes the movements.

    The prose may take two neighbours the other way round than the recording, and count them so:
    "the third, a Scherzo" of a second movement. Where it names the latter first, both orders are
    tried; features and alignment speak of the recording's movements.
    """
    order = tuple(range(1, len(names) + 1))
    shown = features(sentences, fresh, names)
    found = align(shown, weights)
    best = shown, found, order
    for swapped in _swapped(shown, order):
        shown = features(sentences, fresh, [names[number - 1] for number in swapped])
        other = align(shown, weights)
        if other.weight > found.weight + EXCHANGE:
            found = other
            best = _renumbered(shown, swapped), _moved(other, swapped), swapped
    return best


def _swapped(shown: Features, order: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Orders with two neighbours exchanged of which the note names the second first."""
    first: dict[int, tuple[int, int]] = {}
    for u, found in enumerate(shown.mentions):
        for one in found:
            plain = one.kind in (*WORDS, "slow") and one.role in ("subject", "introduced")
            if plain and not one.aside and len(one.movements) == 1:
                first.setdefault(one.movements[0], (u, one.start))
    for number in order[:-1]:
        if number in first and number + 1 in first and first[number + 1] < first[number]:
            yield (*order[: number - 1], number + 1, number, *order[number + 1 :])


def _renumbered(shown: Features, order: Sequence[int]) -> Features:
    """Features whose mentions name the movements of the recording."""

    def moved(one: Mention) -> Mention:
        return replace(one, movements=tuple(order[number - 1] for number in one.movements))

    return replace(shown, mentions=tuple(tuple(map(moved, found)) for found in shown.mentions))


def _moved(found: Alignment, order: Sequence[int]) -> Alignment:
    """An alignment to the movements of the recording."""
    numbers = (0, *order)
    shares = np.empty_like(found.shares)
    shares[:, list(numbers)] = found.shares
    return replace(found, movements=tuple(numbers[n] for n in found.movements), shares=shares)


def _log_sum(values: Array, axis: int) -> Array:
    top = values.max(axis, keepdims=True)
    total: Array = np.log(np.exp(values - top).sum(axis)) + np.squeeze(top, axis)
    return total


# ------------------------------------------------------------------------------------------------
# The weights as a file


def read_weights(path: Path = WEIGHTS_PATH) -> Weights:
    """The weights of a file like alignment.toml; ValueError for a name that no feature has."""
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))

    def row(section: str, order: Sequence[str]) -> list[float]:
        named: Mapping[str, Any] = table
        for name in section.split("."):
            named = named.get(name, {})
        _refuse_unknown(path, section, named, order)
        return [named.get(name, 0.0) for name in order]

    _refuse_unknown(path, "", table, ("movement", "remark", "moves", "named", "end", "words"))
    for section in ("moves", "named"):
        _refuse_unknown(path, section, table[section], MOVES)
    return Weights(
        movement=np.array(row("movement", MOVEMENT)),
        remark=np.array(row("remark", REMARK)),
        moves=np.array([row(f"moves.{kind}", CUE) for kind in MOVES]),
        named=np.array([row(f"named.{kind}", NAMED) for kind in MOVES]),
        end=np.array(row("end", END)),
        words={word: (onward, remark) for word, (onward, remark) in table["words"].items()},
    )


def _refuse_unknown(path: Path, section: str, named: Iterable[str], known: Sequence[str]) -> None:
    unknown = sorted(set(named).difference(known))
    if unknown:
        where = f" in [{section}]" if section else ""
        raise ValueError(f"{path.name} has {unknown[0]!r}{where}: known are {', '.join(known)}")


@cache
def fitted() -> Weights:
    """The weights that come with the program."""
    return read_weights()
