"""From an essay to texts: sentences, cleaning, and the movements each sentence speaks of."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dataset.tags import TERMS, name_terms, tempo_class, term

# Weights of evidence, in units of natural log-odds. They were set by hand on published
# descriptions: a sentence that names its movement outweighs the order of the essay, the order
# outweighs a single tempo word that several movements share.
NAMED = 4.0  # "the second movement", "the finale"
PHRASE = 3.0  # the movement's whole name, two words or more
WORD = 2.0  # one word of the movement's name, shared out among those that have it
HINT = 1.5  # "opens with", "closes with", a bare "the second"
MUSIC = 0.3  # each musical word speaks against a remark on life or work
REMARK = 1.2  # each word of biography or publication speaks for one
OTHER = 0.6  # share of the evidence for the others that counts against a movement
ASIDE = 0.15  # what is left of a mention in a comparison: "like the first movement"
MOST = 6.0  # evidence for one movement never exceeds this
NEW = -1.2  # to go on to the next movement
UNNAMED = -2.0  # to do so in a sentence that does not name it
SKIP = -2.0  # for each movement passed over
BACK = -4.5  # to return to an earlier movement
REST = -2.5  # to leave the movements for a remark
BOTH = -3.2  # one sentence for two movements
SEQUENCE = 1.0  # "next", "follows": go on rather than stay
PARAGRAPH = 0.3  # what is left of REST and UNNAMED where a paragraph begins

ABBREVIATIONS = frozenset("e.g i.e cf ca c dr mr mrs ms st prof vol vs mme bd etc".split())
NUMBERED = frozenset("no nos op opp hob k kv d b woo bwv p pp bar bars mov mvt nr opus sz".split())
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
LAST = ("last", "final", "closing", "concluding")

ORDINAL = re.compile(
    rf"\b(?P<word>{'|'.join((*ORDINALS, 'opening', *LAST))})(?P<gap>(?:,? [\w'’-]+){{0,3}}?) "
    r"(?P<noun>movements?|(?i:adagio|allegr\w+|andant\w+|largh?\w*|lento|presto|vivace|scherzo|"
    r"min?uet\w*|menuet\w*|rondo|moderato))\b"
)
BARE = re.compile(  # "The third is", "but the second, "
    rf"(?:^|[,;:] |\bbut |\band |\bwhile )[Tt]he ({'|'.join(ORDINALS)})"
    r"(?=,| is | has | opens | begins )"
)
SECOND_OF_TWO = re.compile(  # "the first movement to the lively second"
    rf"\bmovement (?:to|into|and) the (?:[\w-]+ )?({'|'.join(ORDINALS)})\b"
    r"(?! (?:violin|theme|subject|idea|melody|half|time|bar|note))"
)
FINALE = re.compile(r"\b[Ff]inale\b")
SLOW_MOVEMENT = re.compile(r"\bslow movement\b")
MIDDLE = re.compile(r"\b(?:middle|inner|central) movements?\b")
OPENS = re.compile(
    r"\b(?:work|quartet|trio|quintet|sextet|sonata|piece|music) (?:opens|begins|starts)\b"
    r"|\bto open\b"
    r"|\bopening\b(?! (?:theme|subject|bars?|section|measures|melody|idea|motif|phrase))"
)
CLOSES = re.compile(
    r"\b(?:closes|ends|concludes)\b(?! (?:quietly|softly|in |on ))|\bto (?:a )?(?:close|end)\b"
)
COMPARES = re.compile(
    r"(?:\b(?:like|unlike|than|from|as in|as|after|before|between|recall\w*|echo\w*|remember\w*|"
    r"quot\w+|following|expect\w*)\b(?: that of| those of| back to)?|\btheme of|\bmaterial of)"
    r"(?: the| its| this| a)? ?$",
    re.IGNORECASE,
)
FOLLOWS = re.compile(r"\b(?:next|follows|followed by|then comes|comes now)\b", re.IGNORECASE)
REMARKS = re.compile(
    r"\b(?:1[5-9]\d\d|20\d\d|born|died|studied|pupils?|students?|teachers?|taught|professor|"
    r"conservatory|career|composers?|published|publisher|dedicated|premi[eè]red?|wrote|written|"
    r"composed|his|her|he|she|(?:two|three|four|five|six|seven) movements|opus|op\.|catalogue|"
    r"recommended?|audiences?|amateurs|publication|edition|players|listeners|played (?:most|often)|"
    r"of the set|known as|this (?:work|quartet|trio|quintet|sextet|sonata|music|piece))\b",
    re.IGNORECASE,
)
MUSICAL = re.compile(
    r"\b(?:themes?|melod\w+|tunes?|subjects?|violins?|violas?|cellos?|piano|key|minor|major|bars?|"
    r"chords?|accompan\w+|rhythm\w*|pizzicato|tremolo|canon|coda|development|introduction|"
    r"section|passages?|octaves?|unison|notes|strings|syncop\w+|register|metre|tempo|loud|soft\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence and the movements it speaks of."""

    sentence: str
    movements: tuple[int, ...]  # () = none; two when the sentence runs through both
    score: float  # 0..1: the share of the readings that agree, weighted by their evidence
    flags: tuple[str, ...]  # by_order, two_movements, names_another
    fresh: bool  # begins a paragraph
    evidence: tuple[str, ...] = ()  # what points to which movement: "finale: +4.0 for 4"


def sentences(text: str) -> list[str]:
    """The sentences of a text as they stand there, without the white space between them."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        start = 0
        for stop in re.finditer(r"[.!?…][\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9À-Ý])", paragraph):
            if ends_sentence(paragraph[start : stop.start()], paragraph[stop.end() :]):
                found.append(paragraph[start : stop.end()].strip())
                start = stop.end()
        found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def ends_sentence(before: str, after: str) -> bool:
    """Whether the full stop between two pieces of text ends a sentence."""
    words = before.split()
    last = words[-1].lstrip("(“\"'") if words else ""
    plain = last.lower()
    if plain in ABBREVIATIONS or (plain in NUMBERED and after[:1].isdigit()):
        return False
    if len(last) == 1 and last.isupper():  # an initial, unless it is a key: "in C."
        return len(words) > 1 and words[-2].lower() == "in"
    following = re.match(r"\w+", after)
    names = following is not None and {term(last), term(following[0])} <= TERMS
    return not names  # "Menuetto. Allegretto"


def mentions(sentence: str, names: Sequence[str]) -> list[tuple[int, int, float]]:
    """(position, movement, weight) of everything in a sentence that points to a movement."""
    last = len(names)
    found = [(at, last, NAMED) for at in starts(FINALE, sentence)]
    for match in ORDINAL.finditer(sentence):
        number = ordinal(match["word"], last)
        weight = NAMED if match["noun"].startswith("movement") or not match["gap"] else HINT
        found.append((match.start(), number, weight))
    found += [(m.start(1), ordinal(m[1], last), HINT) for m in BARE.finditer(sentence)]
    found += [(m.start(1), ordinal(m[1], last), NAMED) for m in SECOND_OF_TWO.finditer(sentence)]
    found += [(at, 1, HINT) for at in starts(OPENS, sentence)]
    found += [(at, last, HINT) for at in starts(CLOSES, sentence)]
    slow = [n for n, name in enumerate(names, 1) if tempo_class(name) == "slow"]
    slow = slow or [n for n, name in enumerate(names, 1) if "andante" in name_terms(name)]
    for pattern, group in ((SLOW_MOVEMENT, slow), (MIDDLE, range(2, last))):
        found += [(at, n, NAMED / len(group)) for at in starts(pattern, sentence) for n in group]
    found += named(sentence, names)
    inside = [mention for mention in found if 1 <= mention[1] <= last]
    return [(at, n, weight * (ASIDE if aside(sentence, at) else 1)) for at, n, weight in inside]


def starts(pattern: re.Pattern[str], sentence: str) -> list[int]:
    """Where a pattern occurs."""
    return [match.start() for match in pattern.finditer(sentence)]


def ordinal(word: str, last: int) -> int:
    """The number of a movement that an ordinal stands for."""
    if word in LAST:
        return last
    return 1 if word == "opening" else ORDINALS.index(word) + 1


def aside(sentence: str, at: int) -> bool:
    """Whether what stands at `at` is only compared with."""
    return COMPARES.search(sentence[max(0, at - 30) : at]) is not None


def named(sentence: str, names: Sequence[str]) -> list[tuple[int, int, float]]:
    """The words and the whole names of movements that a sentence uses."""
    own = [set(name_terms(name)) - {"finale"} for name in names]
    found = []
    for match in re.finditer(r"[^\W\d_]+", sentence):
        holders = [n for n, words in enumerate(own, 1) if term(match[0]) in words]
        found += [(match.start(), n, WORD / len(holders)) for n in holders]
    whole = [name.casefold() for name in names]
    for n, name in enumerate(whole, 1):
        at = sentence.casefold().find(name) if " " in name else -1
        if at >= 0:
            found.append((at, n, PHRASE / whole.count(name)))
    return found


State = tuple[int, tuple[int, ...]]  # (the furthest movement so far, the movements spoken of)


@dataclass(frozen=True, slots=True)
class Cues:
    """What a sentence shows of itself."""

    evidence: list[float]  # for each movement
    remarks: int  # words of life and work
    musical: int  # words of music
    follows: bool  # says that something comes next
    fresh: bool  # begins a paragraph


def states(last: int) -> list[State]:
    """Every state of the alignment: remarks, one movement, two neighbours."""
    remarks: list[State] = [(furthest, ()) for furthest in range(last + 1)]
    single: list[State] = [(n, (n,)) for n in range(1, last + 1)]
    return remarks + single + [(n + 1, (n, n + 1)) for n in range(1, last)]


def move(before: State, after: State, cues: Cues) -> float:
    """Log weight of going on to a state in a sentence; -inf when it cannot be."""
    furthest, spoken = before
    ease = PARAGRAPH if cues.fresh else 1.0
    if not after[1]:
        return (REST * ease if spoken else 0.0) if after[0] == furthest else -math.inf
    step = after[1][0] - furthest
    unnamed = 0.0 if cues.evidence[after[1][0] - 1] > 0 else UNNAMED * ease
    if step == 0:
        return (0.0 if spoken else NEW + unnamed) - (SEQUENCE if cues.follows else 0.0)
    if step < 0:
        return BACK + unnamed
    return NEW + unnamed + SKIP * (step - 1) + (SEQUENCE if cues.follows and step == 1 else 0.0)


def fit(state: State, cues: Cues) -> float:
    """Log weight of a sentence in a state."""
    spoken, everything = state[1], sum(cues.evidence)
    if not spoken:
        return REMARK * cues.remarks - OTHER * everything
    own = [cues.evidence[n - 1] for n in spoken]
    if len(spoken) == 2 and min(own) < HINT:
        return -math.inf
    both = BOTH if len(spoken) == 2 else 0.0
    return sum(own) - OTHER * (everything - sum(own)) + both + MUSIC * cues.musical


def read_note(text: str, names: Sequence[str]) -> list[Reading]:
    """Give every sentence of a note the movements it speaks of.

    `names` are the movements' names in order. All readings of the note that go through the
    movements in order (with remarks anywhere, skips and returns at a price) are weighed by
    forward-backward dynamic programming; each sentence gets its most probable movements.
    """
    paragraphs = [sentences(paragraph) for paragraph in re.split(r"\n\s*\n", text)]
    texts = [sentence for paragraph in paragraphs for sentence in paragraph]
    fresh = [place == 0 for paragraph in paragraphs for place in range(len(paragraph))]
    if not names or not texts:
        return [Reading(text, (), 1.0, (), first) for text, first in zip(texts, fresh, strict=True)]
    cues = [
        Cues(
            weigh(text, names),
            len(REMARKS.findall(text)),
            len(MUSICAL.findall(text)),
            FOLLOWS.search(text) is not None,
            first,
        )
        for text, first in zip(texts, fresh, strict=True)
    ]
    shares = posterior(cues, len(names))
    return [read(text, cue, share) for text, cue, share in zip(texts, cues, shares, strict=True)]


def weigh(sentence: str, names: Sequence[str]) -> list[float]:
    """The evidence in a sentence for each movement, at most MOST."""
    sums = [0.0] * len(names)
    for _, number, weight in mentions(sentence, names):
        sums[number - 1] += weight
    return [min(total, MOST) for total in sums]


def read(text: str, cues: Cues, shares: dict[tuple[int, ...], float]) -> Reading:
    """The best reading of one sentence with what speaks against it."""
    best = max(shares, key=lambda spoken: (shares[spoken], spoken))
    flags = []
    if best and not any(cues.evidence[n - 1] > 0 for n in best):
        flags.append("by_order")
    if len(best) == 2:
        flags.append("two_movements")
    if best and any(weight > 0 for n, weight in enumerate(cues.evidence, 1) if n not in best):
        flags.append("names_another")
    return Reading(text, best, round(shares[best], 4), tuple(flags), cues.fresh)


def posterior(cues: Sequence[Cues], last: int) -> list[dict[tuple[int, ...], float]]:
    """For each sentence the probability of each tuple of movements (forward-backward)."""
    all_states = states(last)
    fits = [[fit(state, cue) for state in all_states] for cue in cues]
    moves = [[[move(a, b, cue) for b in all_states] for a in all_states] for cue in cues]
    n = range(len(all_states))
    first = [move((0, ()), state, cues[0]) for state in all_states]
    ahead = [[first[s] + fits[0][s] for s in n]]
    for here, step in zip(fits[1:], moves[1:], strict=True):
        ahead.append([here[b] + log_sum([ahead[-1][a] + step[a][b] for a in n]) for b in n])
    back = [[0.0 for _ in n]]
    for here, step in zip(reversed(fits[1:]), reversed(moves[1:]), strict=True):
        back.append([log_sum([step[a][b] + here[b] + back[-1][b] for b in n]) for a in n])
    total = log_sum(ahead[-1])
    shares = []
    for forward, backward in zip(ahead, reversed(back), strict=True):
        share: dict[tuple[int, ...], float] = {}
        for s in n:
            spoken = all_states[s][1]
            share[spoken] = share.get(spoken, 0.0) + math.exp(forward[s] + backward[s] - total)
        shares.append(share)
    return shares


def log_sum(values: Sequence[float]) -> float:
    """log of the sum of exponentials; -inf for nothing but -inf."""
    top = max(values)
    if top == -math.inf:
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))
