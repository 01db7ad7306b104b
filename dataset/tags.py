"""What titles say: mode, opus, instruments, ensemble, tempo class, and words in many languages.

The vocabulary stands in tags.toml.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from crawler import grammar

VOCABULARY: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("tags.toml").read_text(encoding="utf-8")
)
ENDINGS = ("", "s", "es", "e", "er", "en", "em", "ere", "eres", "ly")  # of inflected words
SHORTEST = 3  # letters that an ending must leave


def words_of(entry: str) -> list[str]:
    """The words of an entry of tags.toml: "con_moto vivo" -> ["con moto", "vivo"]."""
    return [word.replace("_", " ") for word in entry.split()]


def by_word(table: Mapping[str, str]) -> dict[str, str]:
    """Each key of a table and each word of its entry -> the key."""
    pairs = [(word, key) for key in table for word in (*words_of(table[key]), *words_of(key))]
    return {word: key.replace("_", " ") for word, key in pairs}


def by_concept(table: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Each key and each word of a table -> the keys that it stands under."""
    found: dict[str, set[str]] = {}
    for key, entry in table.items():
        for word in (key, *words_of(entry)):
            found.setdefault(word, set()).add(key)
    return {word: frozenset(keys) for word, keys in found.items()}


def by_custom(table: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(what an ensemble is named after, the ensemble) -> who plays."""
    heads = {key: words_of(key) for key in table}
    return {
        (head[0], ensemble): tuple(words_of(table[key]))
        for key, head in heads.items()
        for ensemble in head[1:]
    }


TEMPO: dict[str, str] = {  # word -> its class
    word: kind
    for kind, languages in VOCABULARY["tempo"].items()
    for word in words_of(" ".join(languages.values()))
}
MOOD: dict[str, str] = {  # word, or two of them -> its class where no word of TEMPO stands
    word: kind for kind, entry in VOCABULARY["mood"].items() for word in words_of(entry["words"])
}
SLOW, MODERATE, FAST = (
    frozenset(word for word in TEMPO if TEMPO[word] == kind)
    for kind in ("slow", "moderate", "fast")
)
ENGLISH = frozenset(
    word for languages in VOCABULARY["tempo"].values() for word in languages["english"].split()
)
DANCES = frozenset(VOCABULARY["names"]["dances"].split())
PLAIN = frozenset(VOCABULARY["names"]["plain"].split())
SHORT = frozenset(("air", "jig"))  # words of three letters that are names
TERMS = (SLOW | MODERATE | FAST | DANCES | {"maestoso"}) - ENGLISH  # in prose they are names
STEMS: dict[str, str] = {word: word for word in (*TEMPO, *MOOD)} | by_word(VOCABULARY["spellings"])
CONCEPTS: dict[str, frozenset[str]] = by_concept(VOCABULARY["concepts"])
INSTRUMENTS: dict[str, str] = by_word(VOCABULARY["instruments"])
FAMILIES: dict[str, str] = by_word(VOCABULARY["families"])
ENSEMBLES: dict[str, str] = by_word(VOCABULARY["ensembles"])
PLAYERS: dict[str, int] = VOCABULARY["players"]
NAMES = frozenset(VOCABULARY["ensembles"])
NUMBERED = {players: name for name, players in PLAYERS.items()}
CUSTOM = by_custom(VOCABULARY["custom"])
FORCES: dict[str, str] = INSTRUMENTS | FAMILIES | ENSEMBLES
ORDER = {key.replace("_", " "): place for place, key in enumerate(VOCABULARY["instruments"])}
STRINGS = CUSTOM["string", "quartet"]

WORD = re.compile(r"[^\W\d_]+")
# "Andante – Allegro", "AndanteAllegro"
SECTION = re.compile(r"[.:;–—/]| - |(?<=[a-zà-ÿ])(?=[A-Z])")
TRIO = frozenset(("trio", "alternativo", "coda"))  # their tempo is not that of the movement
NOT = frozenset("not nicht kein keine non pas sans senza never".split())
PARTICLES = frozenset("di de d du un una a an ein eines im in the".split())
MODES = {
    **dict.fromkeys(("major", "dur", "majeur", "maggiore"), "major"),
    **dict.fromkeys(("minor", "moll", "mineur", "minore"), "minor"),
}
OPUS = re.compile(
    r"\bOp(?:us|\.)? ?(?:posth?\b\.?|(?:posth?\b\.? ?)?\d+[a-z]?(?:/\d+[a-z]?)?(?:,? No\.? ?\d+)?)"
)
QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|„[^“]*“|«[^»]*»")
FOR = re.compile(  # "for clarinet, viola and piano in E-flat major"
    r"\b(?:for|für|fur|pour|per|para)\s+(.+?)(?=[(\[]|,? (?:in|on|from|Op|No|en|nach)\b|$)",
    re.IGNORECASE,
)
COMPOUND = re.compile(  # "Streichquartett"
    r"(streich|blaser|klavier|violin|cello|floten?|oboen?|klarinetten?|fagott|horn|harfen?"
    r"|gitarren?)-?(duo|duett|trio|quartett|quintett|sextett|septett|oktett|nonett|sonate)"
)
LINKS = frozenset("a d avec mit with da".split())  # "quatuor à cordes", "quintette avec piano"
ITEM = re.compile(r"[,;&+]| and | plus | und | et ")
NUMBER = re.compile(r"(\d{1,3}|two|three|four|five|six|seven|eight|nine|ten) (?=\w)")
NUMBERS = {
    word: number
    for number, word in enumerate("two three four five six seven eight nine ten".split(), start=2)
}
UNCOUNTED = frozenset("ensemble orchestra chorus choir band consort".split()) | FAMILIES.keys()


# ---------------------------------------------------------------- words


def fold(text: str) -> str:
    """Lower case without accents: "Mäßig" -> "massig"."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    signs = unicodedata.normalize("NFKD", plain)
    return "".join(sign for sign in signs if not unicodedata.combining(sign))


def bare(word: str) -> str:
    """A word folded, without the punctuation around it."""
    return fold(word).strip(".,;:!?()'\"")


def known(word: str, table: Mapping[str, object]) -> str | None:
    """The word as a table has it, if need be without an ending; None where it has not."""
    if word in table:
        return word
    stems = (word.removesuffix(end) for end in ENDINGS[1:] if word.endswith(end))
    return next((stem for stem in stems if len(stem) >= SHORTEST and stem in table), None)


@lru_cache(maxsize=100_000)
def term(word: str) -> str:
    """A word without case, accents and the spelling of its language: "Menuetto" -> "minuet"."""
    plain = bare(word)
    found = known(plain, STEMS)
    return plain if found is None else STEMS[found]


def name_terms(name: str) -> list[str]:
    """The words of a movement's name that can tell it from another."""
    words = [term(word) for word in WORD.findall(name)]
    return [w for w in words if (len(w) >= 4 or w in SHORT) and w not in PLAIN]


@lru_cache(maxsize=100_000)
def concepts(word: str) -> frozenset[str]:
    """What a word of a title, or of prose about it, stands for: English words.

    Two words that share one may mean the same thing: "Trauermarsch" and "funeral", "Lebhaft" and
    "lively". Some of the English words are in every text ("theme", "slow", "introduction").
    """
    found = (known(spelling, CONCEPTS) for spelling in (bare(word), term(word)))
    return frozenset().union(*(CONCEPTS[spelling] for spelling in found if spelling))


# ---------------------------------------------------------------- the name of a movement


def tempo_class(name: str) -> str | None:
    """slow, moderate or fast, from a movement's name; None when it has no tempo or two.

    The first tempo of a section is that of the section ("Allegro moderato" is fast); the tempo of
    a trio or a coda does not count. "Nicht schnell" says nothing, "nicht zu schnell" is fast.
    """
    main: list[list[str]] = []
    for section in SECTION.split(name):
        words = [term(word) for word in WORD.findall(section)]
        if words and words[0] in TRIO and any(first_tempo(before, TEMPO) for before in main):
            break
        main.append(words)
    for table in (TEMPO, MOOD):
        kinds = {kind for words in main if (kind := first_tempo(words, table))}
        if kinds:
            return kinds.pop() if len(kinds) == 1 else None
    return None


def first_tempo(words: Sequence[str], table: Mapping[str, str]) -> str | None:
    """The class of the first word, or pair of words, that a table has and nothing negates."""
    spoken = [word for word in words if word not in PARTICLES]
    for before, word, after in zip(["", *spoken], spoken, [*spoken[1:], ""], strict=False):
        kind = table.get(f"{word} {after}") or table.get(word)
        if kind and before not in NOT:
            return kind
    return None


# ---------------------------------------------------------------- the title of a work


def mode_of(title: str, key: str | None) -> str | None:
    """major or minor, from the key or else the title."""
    words = WORD.findall(fold(key or QUOTED.sub(" ", title)))
    return next((MODES[word] for word in words if word in MODES), None)


def opus_of(title: str) -> str | None:
    """The opus number of a title, else its number in a catalogue."""
    found = OPUS.search(title) or grammar.CATALOGUE.search(title)
    return found[0] if found else None


def forces(text: str) -> list[str]:
    """The words of a text with instruments, families and ensembles under their English names.

    What an ensemble is named after stands before it: "quatuor à cordes" -> ["string", "quartet"].
    """
    words = re.findall(r"\w+", COMPOUND.sub(r"\1 \2", fold(QUOTED.sub(" ", text))))
    found = list(longest(words))
    for at in range(len(found) - 2):
        ensemble, link, named = found[at : at + 3]
        if ensemble in NAMES and link in LINKS and (named in ORDER or named in FAMILIES):
            found[at : at + 3] = [link, named, ensemble]
    return found


def longest(words: Sequence[str]) -> Iterator[str]:
    """The words, the longest names that FORCES has under those that it gives them."""
    place = 0
    while place < len(words):
        spans = ((n, known(" ".join(words[place : place + n]), FORCES)) for n in (3, 2, 1))
        length, found = next(((n, name) for n, name in spans if name is not None), (1, None))
        yield words[place] if found is None else FORCES[found]
        place += length


def scored_for(title: str) -> str:
    """What stands behind the "for" of a title, up to its key or number; "" without one."""
    found = FOR.search(QUOTED.sub(" ", title))
    return found[1] if found else ""


def instruments_of(title: str, instrumentation: str | None) -> tuple[str, ...]:
    """Who plays, as far as it is said: from the players, else from the title; () = not said.

    A "String Quartet" has violin, viola and cello; a "Quintet for Piano and Winds" has piano.
    """
    scored = forces(instrumentation or ""), forces(scored_for(title))
    for words, every in ((scored[0], True), (scored[1], True), (forces(title), False)):
        found = set(players_in(words, every))
        if found:
            return tuple(sorted(found, key=ORDER.__getitem__))
    return ()


def players_in(words: Sequence[str], every: bool) -> Iterator[str]:
    """The instruments of named ensembles; with `every` also those that stand alone."""
    for word, after in pairwise([*words, ""]):
        if (word, after) in CUSTOM and "solo" not in words:
            yield from CUSTOM[word, after]
        elif word in ORDER and (every or after in NAMES or (word, after) in CUSTOM):
            yield word
        elif word == "string" and every and after not in NAMES:
            yield from STRINGS


def ensemble_of(title: str, instrumentation: str | None) -> str | None:
    """solo, duo, trio, ...: from the title, else from the number of players; sonata; None."""
    named = [word for word in forces(title) if word in NAMES]
    told = next((word for word in named if word in PLAYERS), None)
    scored = scored_for(title)
    items = [item for item in ITEM.split(scored) if item.strip()]
    players = count_players(instrumentation or "")
    if not players and all(instruments_of("", item) for item in items):
        players = count_players(scored)
    return told or next(iter(named), None) or NUMBERED.get(players)


def count_players(instrumentation: str) -> int:
    """Players of "2 violins, viola and cello"; 0 when it does not say, as in "piano, strings"."""
    counts = [count_item(item) for item in ITEM.split(instrumentation) if item.strip()]
    return sum(counts) if all(counts) else 0


def count_item(item: str) -> int:
    """Players of "2 violins", "string quartet", "piano four hands"; 0 for "strings"."""
    words = forces(item)
    if words[-1:] == ["hands"]:
        return NUMBERS.get(words[-2], 0) // 2 if len(words) > 1 else 0
    size = next((PLAYERS[word] for word in words if word in PLAYERS), None)
    if size is None and UNCOUNTED & {fold(word) for word in WORD.findall(item)}:
        return 0
    number = NUMBER.match(item.strip().lower())
    return (size or 1) * ((NUMBERS.get(number[1]) or int(number[1])) if number else 1)
