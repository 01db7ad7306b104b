"""A note -> readings: each sentence, or clause of one, with the movements it speaks of."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dataset.alignment import Features, align_note, fitted
from dataset.evidence import (
    ABOUT_WORK,
    EARLY,
    FAINT,
    LIFE,
    REMARKS,
    STRONG,
    Mention,
    mentions,
    movements_of,
    number_of,
    several,
    unlisted,
)
from dataset.sentences import paragraphs
from dataset.tags import TERMS, term

# Where a sentence that goes on to another movement may be cut: before its next clause.
CLAUSE = re.compile(
    r"[,;:]\s+(?=and |but |while |whereas |then |with |the |a |an |in |this |it |which |followed |"
    r"before )|;\s+|\s+[–—-]{1,2}\s+|\s+(?=and (?:the|a|an|then|is followed)\b|followed by )"
)
CLEAR = (
    "ordinal",
    "ordinal_tempo",
    "finale",
    "slow",
    "middle",
    "tempo_word",
    "form_word",
    "phrase",
)
WALKS = re.compile(  # "the first movement is bold, the second a lament, and the third a minuet"
    r"(?:[,;] |\band |\bwhile )(?:and |while )?the (second|third|fourth|fifth|sixth|last)\b"
    r"(?! (?:and|violins?|themes?|subjects?|ideas?|melod\w+|half|time|bars?|notes?|sections?|"
    r"movements?)\b)",
    re.IGNORECASE,
)
ANTICIPATES = re.compile(
    r"\b(?:until|before|prepar\w+|anticipat\w+|hint\w*|like|than)\b(?:,[^,;]*,)?[^,;]*$"
)
AHEAD = 120  # letters before a mention in which a word may say that it only looks ahead
MIN_CLAUSE = 3  # words
COMMON = frozenset("the and of is in a with it to by as this".split())
MIN_COMMON, MIN_TOLD = 0.08, 12  # share of these in English prose, of so many words or more
BIOGRAPHY, WORK = "biography", "work"  # kinds of remarks
SHOWN = 4  # mentions told of a sentence


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence, or a clause of it, and the movements it speaks of."""

    sentence: str
    movements: tuple[int, ...]  # () = none; neighbours when it speaks of them together
    score: float  # 0..1: probability of this movement in the whole of the note
    flags: tuple[str, ...]  # by_order, names_another, several_movements, not_english, unlike_names
    fresh: bool  # begins a paragraph
    inner: bool = False  # goes on with the sentence above
    remark: str | None = None  # biography or work, where it speaks of no movement
    evidence: tuple[str, ...] = ()  # what in it points to movements, in words


def read_note(text: str, names: Sequence[str]) -> list[Reading]:
    """Give every sentence of a note the movements it speaks of.

    `names` are the movements' names in order, "" where there is none. The whole note is aligned
    at once; see dataset/alignment.py. Without names every sentence is a remark.
    """
    parts = paragraphs(text)
    sentences = [sentence for part in parts for sentence in part]
    fresh = [place == 0 for part in parts for place in range(len(part))]
    if not sentences:
        return []
    shown, found, order = align_note(sentences, fresh, names, fitted())
    flags = _flags(sentences, shown, names)
    readings = []
    for u, (sentence, number) in enumerate(zip(sentences, found.movements, strict=True)):
        together = several(sentence, len(names)) or _passage(sentence, shown.mentions[u], number)
        spoken: tuple[int, ...] = (number,) if number else ()
        spoken = together if number in together else spoken
        score = round(float(found.shares[u, number]), 4)
        moved = ["reordered"] if any(order[n - 1] != n for n in spoken) else []
        readings.append(
            _reading(
                sentence, spoken, score, [*flags, *moved], fresh[u], shown.mentions[u], len(names)
            )
        )
    return list(_walked(readings, names, flags))


def _passage(sentence: str, found: Sequence[Mention], number: int) -> tuple[int, ...]:
    """Two movements of which a sentence tells the way: "From the Largo it is a step to the ..."."""
    left = any(one.start < EARLY and one.movements == (number - 1,) for one in found)
    return (number - 1, number) if left and sentence.startswith("From ") else ()


def _reading(
    sentence: str,
    spoken: tuple[int, ...],
    score: float,
    flags: Sequence[str],
    fresh: bool,
    found: Sequence[Mention],
    last: int,
) -> Reading:
    """A sentence with what speaks for its movements and against them."""
    told = [one for one in found if one.kind not in FAINT and not one.aside]
    own = list(flags)
    by_order = not any({*spoken} & {*one.movements} for one in told)
    clear = [
        one for one in found
        if not one.aside and (_names(one) or (by_order and one.kind == "implied"))
    ]  # fmt: skip
    if spoken and by_order:
        own.append("by_order")
    if spoken and any(not {*spoken} & {*one.movements} for one in clear):
        own.append("names_another")
    if len(spoken) > 1:
        own.append("several_movements")
    if spoken and last and unlisted(sentence, last):
        own.append("names_unlisted")
    remark = None if spoken else remark_of(sentence)
    kind = [f"a remark: {remark}"] if remark else []
    evidence = (*kind, *(_told(one) for one in found[:SHOWN]))
    return Reading(
        sentence, spoken, score, tuple(sorted(own)), fresh, remark=remark, evidence=evidence
    )


def _names(one: Mention) -> bool:
    """Whether a mention can mean nothing but its movements."""
    return one.kind in STRONG or (one.kind in CLEAR and len(one.movements) == 1)


def _told(one: Mention) -> str:
    """A mention in words: '"the finale" (finale) for 4'."""
    numbers = " or ".join(map(str, one.movements))
    aside = "only compared: " if one.aside else ""
    return f'{aside}"{one.text}" ({one.kind.replace("_", " ")}) for {numbers}'


def remark_of(sentence: str) -> str:
    """Whether a remark is of somebody's life or of the work."""
    life, work = (
        sum(min(len(REMARKS[name].findall(sentence.lower())), 2) for name in names)
        for names in (LIFE, ABOUT_WORK)
    )
    return BIOGRAPHY if life > work else WORK


def _flags(sentences: Sequence[str], shown: Features, names: Sequence[str]) -> list[str]:
    """What speaks against a whole note."""
    words = [word for sentence in sentences for word in re.findall(r"[^\W\d_]+", sentence.lower())]
    common = sum(word in COMMON for word in words)
    found = ["not_english"] if len(words) >= MIN_TOLD and common < MIN_COMMON * len(words) else []
    own = frozenset().union(*movements_of(tuple(names)).terms)
    said = {stem for word in set(words) if (stem := term(word)) in TERMS} - {"finale", "trio"}
    if own & TERMS and len(said) > 1 and not said & own:
        found.append("unlike_names")  # the prose may be of another work
    return found


# ------------------------------------------------------------------------------------------------
# Sentences that walk on


def _walked(
    readings: Sequence[Reading], names: Sequence[str], flags: Sequence[str]
) -> Iterator[Reading]:
    """The readings, cut; what follows a walk without naming anything stays where it ended."""
    begun: tuple[int, ...] = ()  # where the last walk was read to be, and where it ended
    ended: tuple[int, ...] = ()
    for place, one in enumerate(readings):
        if one.movements and one.movements == begun and "by_order" in one.flags:
            yield replace(one, movements=ended)
            continue
        pieces = list(_cut(one, place, readings, names, flags))
        walk = len(pieces) > 1
        begun, ended = (one.movements, pieces[-1].movements) if walk else ((), ())
        yield from pieces


def _cut(
    one: Reading,
    place: int,
    readings: Sequence[Reading],
    names: Sequence[str],
    flags: Sequence[str],
) -> Iterator[Reading]:
    """A reading, in pieces where its clauses speak of one movement after the other.

    The pieces go on from the sentence above and not beyond the one below.
    """
    if len(one.movements) != 1:
        yield one
        return
    before = next((r.movements[-1] for r in reversed(readings[:place]) if r.movements), 0)
    below = (
        r.movements[0] for r in readings[place + 1 :]
        if r.movements and not (r.movements == one.movements and "by_order" in r.flags)
    )  # fmt: skip
    after = next(below, len(names))
    bounds = _bounds(one.sentence, names)
    numbers = [number for _, number in bounds]
    if (
        len(bounds) < 2
        or one.movements[0] not in numbers
        or not before <= numbers[0] <= numbers[-1] <= after
    ):
        yield one
        return
    cuts = [0, *(at for at, _ in bounds[1:]), len(one.sentence)]
    for index, number in enumerate(numbers):
        piece = one.sentence[cuts[index] : cuts[index + 1]].strip()
        read = _reading(
            piece, (number,), one.score, flags, one.fresh and not index,
            mentions(piece, movements_of(tuple(names))), len(names),
        )  # fmt: skip
        yield replace(read, inner=index > 0)


def _steps(sentence: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """(letter, movement) of what clearly names a movement, in the order of the sentence.

    Behind "the first movement" a bare "the second" is a movement too.
    """
    told = mentions(sentence, movements_of(tuple(names)))
    clear = [one for one in told if one.kind in CLEAR and len(one.movements) == 1 and not one.aside]
    found = [(one.start, one.movements[0]) for one in clear]
    counted = [one.start for one in clear if one.kind == "ordinal"]
    if counted:
        bare = ((m.start(1), number_of(m[1], len(names))) for m in WALKS.finditer(sentence))
        found += [(at, number) for at, number in bare if counted[0] < at and number <= len(names)]
    return sorted(found)


def _bounds(sentence: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """Where a sentence's clauses on movements begin: (letter, movement), each the next movement."""
    clauses = [match.end() for match in CLAUSE.finditer(sentence)]
    found: list[tuple[int, int]] = []
    for start, number in _steps(sentence, names):
        if found and number != found[-1][1]:
            at = max((clause for clause in clauses if clause <= start), default=0)
            early = len(sentence[found[-1][0] : at].split()) < MIN_CLAUSE
            ahead = ANTICIPATES.search(sentence[found[-1][0] : start][-AHEAD:])
            if number != found[-1][1] + 1 or early or ahead:
                return []
            found.append((at, number))
        found = found or [(0, number)]
    short = found and len(sentence[found[-1][0] :].split()) < MIN_CLAUSE
    return [] if short else found
