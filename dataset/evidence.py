"""What in a sentence points to a movement, and what to a remark on life or work."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from dataset.tags import DANCES, FAST, MODERATE, SLOW, concepts, name_terms, tempo_class, term

ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
)
DIGITS = "1st 2nd 3rd 4th 5th 6th 7th 8th".split()
LAST = "last final closing concluding ultimate".split()
NUMBERS = {word: place for words in (ORDINALS, DIGITS) for place, word in enumerate(words, 1)}
NUMBERS |= {"forth": 4, "opening": 1}  # the first is a frequent misprint
TEMPO = (
    r"adagio|adagietto|allegr\w+|andant\w+|largh?\w*|lento|presto\w*|vivac\w+|scherz\w+|"
    r"min?uett?\w*|menuett?\w*|rondo|moderato|intermezzo|romanze?|march|waltz|fugue"
)
WORK = r"work|quartet|trio|quintet|sextet|septet|octet|nonet|duo|sonata|serenade|piece|suite|opus"
NUMBER = "|".join((*NUMBERS, *LAST, "penultimate"))
ORDINAL = re.compile(
    rf"\b(?P<word>{NUMBER})(?P<gap>(?:,? (?!movements?\b)[\w'’-]+){{0,4}}?),? "
    rf"(?P<noun>movement|piece|part|{TEMPO})\b",
    re.IGNORECASE,
)
PARTS = re.compile(r"\b(?:part[ei]?|teil|sections?)\b", re.IGNORECASE)  # names that are counted so
NO_GAP = re.compile(r"\b(?:of|in|to|theme|subject|violin|half|section|time)\b")
PLURAL = re.compile(  # "the first and second movements", "the last two movements"
    rf"\b(?:(?P<one>{'|'.join((*ORDINALS, *LAST))}) (?:(?P<count>two|three)|"
    rf"(?P<link>and|to|through) (?:the )?(?P<other>{'|'.join((*ORDINALS, *LAST))}))|"
    r"(?P<inner>(?:two )?(?:middle|inner|central)(?: two)?)) (?:[\w-]+ )?movements\b",
    re.IGNORECASE,
)
BARE = re.compile(  # "The third is", "but the last, "
    rf"(?:^|[,;:] |\bbut |\band |\bwhile |\bwhereas )[Tt]he ({'|'.join((*ORDINALS[2:], *LAST))})"
    r"(?=,| is\b| has\b| opens| begins| starts| features| marked| in [A-Ga-g]\b|; |: )"
)
NUMERAL = re.compile(r"^(?P<roman>I{1,3}|IV|V|VI{1,3})[.:)] ")  # "II: a song without words"
ROMAN = {roman: number for number, roman in enumerate("I II III IV V VI VII VIII".split(), 1)}
FOURTH = re.compile(  # "The fourth dons the mutes"
    r"^The (third|fourth|fifth|sixth|seventh),? "
    r"(?!theme|subject|idea|melody|voice|section|variation|quartet|trio|work|of|bar|time)[a-z]+",
    re.IGNORECASE,
)
SECOND_OF_TWO = re.compile(  # "the first movement to the lively second"
    rf"\bmovement (?:to|into|and) the (?:[\w-]+ )?({'|'.join(ORDINALS)})\b"
    r"(?! (?:violin|theme|subject|idea|melody|half|time|bar|note))"
)
PLACED = re.compile(  # "the Menuetto comes second"
    rf"\b(?:comes?|placed|is|stands|appears) ({'|'.join((*ORDINALS[:6], 'last'))})\b"
    r"(?=[.,;]|$| and| in the| among| following)",
    re.IGNORECASE,
)
FINALE = re.compile(r"\bfinales?\b", re.IGNORECASE)
SLOW_MOVEMENT = re.compile(r"\bslow(?:er)? (?:[\w-]+ )?movement\b", re.IGNORECASE)
MIDDLE = re.compile(
    rf"\b(?:middle|inner|central)(?:,? [\w'’-]+){{0,2}}? (?:movement|{TEMPO})\b", re.IGNORECASE
)
THE_WORK = rf"(?:the|this|his|her) (?:[\w-]+ ){{0,2}}(?:{WORK}|music|composition)"
OPENS = re.compile(
    rf"\b(?:{WORK}|music|composition|it) (?:opens|begins|starts|commences)\b|"
    rf"\b(?:opens|begins|starts) {THE_WORK}\b|"
    r"\bto (?:open|begin|start)\b|"
    r"\bopening\b(?! (?:theme|subject|bars?|section|measures|melody|idea|motif|phrase|of)\b)",
    re.IGNORECASE,
)
CLOSES = re.compile(
    rf"\b(?:{WORK}|composition) (?:closes|ends|concludes|finishes)\b|"
    rf"\b(?:closes|ends|concludes|finishes) {THE_WORK}\b|"
    r"\bto (?:a )?(?:close|end|conclude|finish)\b|\b(?:topped|rounded) off\b|"
    r"\b(?:concludes|closes|ends) with\b|\b(?:finally|lastly)\b",
    re.IGNORECASE,
)
COMPARES = re.compile(  # what stands before a movement that is only compared with
    r"(?:(?<![\w-])(?:like|unlike|than|as in|as with|as if|recall\w*|echo\w*|remember\w*|"
    r"reminiscent of|quot\w+|heard in|used in|found in|that of|those of|in contrast (?:to|with)|"
    r"contrasts? with|compared (?:to|with)|similar to|remind\w*|hint\w*|anticipat\w+|"
    r"foreshadow\w*|expect\w*|back to|return\w* to|from|preced\w+|after|between)\b"
    r"(?: that of| those of| of| in)?)(?: the| its| this| a| an)?(?: [\w'’-]+)? ?$",
    re.IGNORECASE,
)
CONDITION = re.compile(r"^(?:If|While|Where|Whereas|Though|Although|Just as|As)\b[^,;]{0,120}$")
CONCEDES = re.compile(r"^(?:Though|Although)\b[^,;]*, (?:it|this)\b")  # ... and speaks on of it
OBLIQUE = re.compile(
    r"\b(?:(?:of|from|to|until|before|like|than|as|with|for|into|by|between|after|recalls?|echoes|"
    r"through(?:out)?|since|beyond)(?: (?:the|its|this|a|an|that|both))?|and (?:the|its|a))"
    r"(?: [\w'’-]+){0,2} ?$",
    re.IGNORECASE,
)
INTRODUCED = re.compile(
    r"(?:\bfollowed by|\bcomes?|\bleads? (?:directly |right |straight )?(?:in)?to|"
    r"\bgives? way to|\b(?:opens|begins|starts|closes|concludes|ends|finishes) with|\bushers in|"
    r"\bbrings?(?: us)?(?: to)?|\bprecedes?|\bis|\bhas|\bto|\bintroduc\w+|\bthen|\boffers?|"
    r"\bfeatures?)(?: (?:the|its|a|an))?(?: [\w'’-]+,?){0,3} ?$",
    re.IGNORECASE,
)
WINDOW = 90  # letters before a mention that say what it is in its sentence
EARLY, NEAR = 30, 55  # letters within which a subject begins, and what hangs on one

# What a sentence shows of its place in the essay.
CUES = {
    "follows": re.compile(
        r"\b(?:next|follows|followed by|following|then comes|comes now|succeed\w*|"
        r"after (?:this|which|the)|in contrast)\b",
        re.IGNORECASE,
    ),
    "comes": re.compile(
        r"\b(?:next (?:comes|is|movement)|comes next|(?:which|that) follows|then comes)\b|; then\b",
        re.IGNORECASE,
    ),
    "next": re.compile(
        r"^(?:And )?(?:Next|Then (?:comes|follows|we)|There follows|Now comes|Last|After this)\b|"
        r"\b(?:comes|is) next\b",
        re.IGNORECASE,
    ),
    "stays": re.compile(
        r"^(?:It|Its|This|Here|These|Both|Within|Throughout|Eventually|Suddenly|Soon|There|"
        r"A second|The second (?:theme|subject|idea|melody|section)|"
        r"The (?:main|first|trio|coda|development|middle section|contrasting))\b"
    ),
    "plural": re.compile(
        rf"\b(?:{'|'.join((*ORDINALS, *LAST))}|opening|middle|inner|outer|central)"
        r"(?:[\w ]{0,20})? movements\b",
        re.IGNORECASE,
    ),
}
# Words that go with a remark on life or work, or with a description; for sentences in lower case.
REMARKS = {
    name: re.compile(words)
    for name, words in {
        "year": r"\b(?:1[5-9]|20)\d\d\b|\b1[5-9]\d0s\b",
        "lifespan": r"\((?:c\. ?)?1[5-9]\d\d ?[-–] ?(?:1[5-9]|20)\d\d\)|"
        r"\b(?:born|died|death|birth)\b",
        "he": r"\b(?:he|his|him|she|her|himself|herself)\b",
        "study": r"\b(?:stud(?:y|ied|ies|ying|ents?)|pupils?|teach\w*|taught|lessons?|"
        r"conservator\w+|academy|university|professor\w*|director|conductor|organist|kapellmeister|school|class|"
        r"trained|prize|scholarship)\b",
        "life": r"\b(?:father|mother|brother|sister|son|daughter|wife|husband|married|family|"
        r"friends?|friendship|career|childhood|appointed|moved|settled|travel\w*|war|court|"
        r"orchestra|fame|famous|reputation|forgotten|contemporar\w+|lived|virtuoso|concert tours?|"
        r"post|position|patron|prince|count|emigrat\w+|native|became|life|youth|age|years?)\b",
        "composer": r"\b(?:composers?|composition\w*|composed|composing|wrote|written|oeuvre|"
        r"output|works|quartets|trios|quintets|sonatas|symphon\w+|operas?)\b",
        "publish": r"\b(?:publi\w+|edition\w*|reprint\w*|parts|score|manuscript|printed|available|"
        r"in print|copies|copy)\b",
        "premiere": r"\b(?:premi\w+|first performance|performed|performances?|audiences?|critics?|"
        r"dedicat\w+|commission\w*|success|reception|received)\b",
        "recommend": r"\b(?:recommend\w*|amateurs?|professionals?|deserv\w+|concert hall|"
        r"repertoire|programme|program|players|ensembles?|groups|listeners?)\b",
        "movements": r"\bmovements\b",
        "this_work": rf"\b(?:this|the|entire|whole) (?:{WORK}|composition)\b",
        "opus": r"\b(?:opus|op\.|no\.|woo|catalogue|numbers?)",
        "style": r"\b(?:style|influence\w*|romantic|classical|modern|tradition\w*|era|period|"
        r"national\w*|school|language|generation)\b",
        "music": r"\b(?:themes?|melod\w+|tunes?|subjects?|motifs?|motives?|violins?|violas?|"
        r"cell(?:o|i|os)|piano|clarinet|major|minor|bars?|chords?|accompan\w+|rhythm\w*|"
        r"pizzicat\w+|tremol\w+|canon\w*|fug\w+|coda|development|recapitulation|exposition|"
        r"introduction|sections?|passages?|octaves?|unison|notes|strings|syncop\w+|register|metre|"
        r"tempo|loud\w*|soft\w*|quiet\w*|dance|song|singing)\b",
        "action": r"\b(?:begins?|opens?|starts?|ends?|closes?|concludes?|leads?|brings?|follows?|"
        r"returns?|introduc\w+|interrupt\w*|builds?|enters?|gives? way|appears?|features?|"
        r"contrast\w*|marked|lovely|lyrical|dramatic|powerful|exciting|gentle|charming|playful|"
        r"lively|sad|mood|atmosphere|somber|sombre|dark\w*|bright|energetic|virtuosic|beautiful)\b",
    }.items()
}
LIFE = ("year", "lifespan", "he", "study", "life")  # more of these: biography ...
ABOUT_WORK = ("publish", "premiere", "recommend", "movements", "this_work", "opus")  # ... or work
# Words that go with the character of a movement; for sentences in lower case.
CHARACTER = {
    name: re.compile(rf"\b(?:{words})\b")
    for name, words in {
        "slow": r"slow\w*|lyric\w*|song|sing\w*|cantabile|meditat\w+|elegia\w+|elegy|lament\w*|"
        r"pray\w+|hymn\w*|tender\w*|calm\w*|tranquil\w*|peace\w*|seren\w+|sad\w*|mournful|"
        r"melanchol\w+|funere?al|sorrow\w*|solemn\w*|noble|nobility|nocturn\w+|romance|dream\w*|"
        r"sublime|profound|deeply|heart|expressive|beautiful|chorale|dirge|reverie|repose|sigh\w*|"
        r"long-lined|religious|intimate|warm|adagio|lento|largo|andante",
        "fast": r"fast\w*|quick\w*|livel\w+|energ\w+|spirit\w*|rous\w+|exciting|excitement|"
        r"brilliant\w*|brisk\w*|rac\w+|gallop\w*|whirl\w+|dash\w*|vigor\w*|driving|drive\w*|"
        r"bustl\w+|boister\w+|jovial|jolly|hunt\w*|rondo|presto|allegro|vivace|virtuos\w+|romp\w*|"
        r"headlong|furious\w*|vivacious|exuberan\w+|playful\w*|gay|good-humou?red|perpetual|"
        r"bravura",
        "dance": r"danc\w*|scherzo\w*|minuets?|menuett?o?|waltz\w*|trios?|ländler|polka|furiant|"
        r"mazurka|folk|peasant|rustic|bagpipe|drone|playful|puckish|elfin|elves|mendelssohnian|"
        r"humou?r\w*|witty|whims\w+|pizzicat\w+|intermezzo|rhythm\w*|syncop\w+|contrasting",
        "sonata": r"sonata|exposition|development|recapitulation|first theme|second theme|"
        r"second subject|main theme|introduction|main subject|sonata-form",
        "end": r"coda|conclu\w+|ending|brings? the|rondo|triumphant\w*|to a close|bravura|exciting|"
        r"rousing|fugue|fugal|end",
    }.items()
}
# Words of names that are in every text.
WEAK = frozenset(
    "trio coda theme themes introduction section sections part parts slow fast finale final "
    "variation lively large song dance quiet calm moving beautiful dark broad tender gentle".split()
)
PLAIN = frozenset(("finale", "movement"))
INNER = frozenset(("scherzo", "minuet", "intermezzo", "waltz"))  # of no name: a middle movement
SONGS = frozenset(
    ("andante", "andantino", "romance", "canzona", "elegy")
)  # slow if nothing else is
WORD = re.compile(r"[^\W\d_]{4,}|\b(?:Air|Jig)\b")
STRONG = ("ordinal", "ordinal_tempo", "finale", "slow", "middle", "bare", "fourth", "placed")
WORDS = ("tempo_word", "form_word", "other_word", "phrase")
FAINT = ("concept", "implied", "weak_word")
ENDS = ("opens", "closes")
KINDS = (*STRONG, *WORDS, *FAINT, *ENDS)
ROLES = ("subject", "introduced", "oblique", "oblique_late", "other")


@dataclass(frozen=True, slots=True)
class Mention:
    """One place in a sentence that points to movements."""

    start: int
    text: str
    movements: tuple[int, ...]
    kind: str  # one of KINDS
    role: str  # one of ROLES
    aside: bool = False  # only compared with

    @property
    def weight(self) -> float:
        """What each of the movements has of it."""
        return 1 / len(self.movements)


@dataclass(frozen=True, slots=True)
class Movements:
    """What the names of a work's movements say."""

    names: tuple[str, ...]
    terms: tuple[frozenset[str], ...]
    meanings: tuple[frozenset[str], ...]  # English words for these terms
    tempi: tuple[str | None, ...]
    slow: tuple[int, ...]  # which "the slow movement" may be
    phrases: tuple[str, ...]  # names of several words in lower case, else ""

    @property
    def last(self) -> int:
        """The number of the last movement."""
        return len(self.names)

    def characters(self, number: int) -> tuple[str, ...]:
        """What a movement is by its name and place."""
        named = self.terms[number - 1]
        dance = named & {*INNER, "gavotte", "polka", "mazurka"}
        ends = ["opening"] * (number == 1) + ["closing"] * (number == self.last)
        return ("dance" if dance else self.tempi[number - 1] or "untold", *ends)


@lru_cache(maxsize=256)
def movements_of(names: tuple[str, ...]) -> Movements:
    """What the names of a work's movements say."""
    terms = tuple(frozenset(name_terms(name)) - PLAIN for name in names)
    tempi = tuple(map(tempo_class, names))
    slow = [n for n, kind in enumerate(tempi, 1) if kind == "slow"]
    songs = [n for n, words in enumerate(terms, 1) if words & SONGS]
    slow = slow or [n for n in songs if 1 < n < len(names)] or songs
    return Movements(
        names,
        terms,
        tuple(frozenset(c for word in words for c in concepts(word)) - PLAIN for words in terms),
        tempi,
        tuple(slow or range(2, len(names))),
        tuple(name.casefold() if " " in name.strip() else "" for name in names),
    )


def mentions(sentence: str, work: Movements) -> list[Mention]:
    """Everything in a sentence that points to a movement that there is, in its order."""
    found = [*_placed(sentence, work), *_named(sentence, work)]
    there = range(1, work.last + 1)
    inside = [one for one in found if one.movements and all(n in there for n in one.movements)]
    return sorted(inside, key=lambda one: (one.start, KINDS.index(one.kind)))


def _placed(sentence: str, work: Movements) -> Iterator[Mention]:
    """Movements by their place: "the second movement", "the finale"."""
    for match in ORDINAL.finditer(sentence):
        noun = match["noun"].lower()
        called = noun != "part" or PARTS.search(" ".join(work.names))
        if called and not NO_GAP.search(match["gap"]):
            kind = "ordinal" if noun in ("movement", "piece", "part") else "ordinal_tempo"
            yield _mention(sentence, match, [_counted(match, work)], kind)
    for pattern, kind in (
        (BARE, "bare"), (SECOND_OF_TWO, "ordinal"), (PLACED, "placed"), (FOURTH, "fourth")
    ):  # fmt: skip
        for match in pattern.finditer(sentence):
            yield _mention(sentence, match, [number_of(match[1], work.last)], kind)
    if numeral := NUMERAL.match(sentence):
        yield _mention(sentence, numeral, [ROMAN[numeral["roman"]]], "ordinal")
    if plural := _plural(sentence, work.last):
        yield _mention(sentence, *plural, "ordinal")
    middle = range(2, work.last)
    for pattern, numbers, kind in (
        (FINALE, [work.last], "finale"), (SLOW_MOVEMENT, work.slow, "slow"),
        (MIDDLE, middle, "middle"), (OPENS, [1], "opens"), (CLOSES, [work.last], "closes"),
    ):  # fmt: skip
        for match in pattern.finditer(sentence):
            yield _mention(sentence, match, numbers, kind)


def _mention(sentence: str, match: re.Match[str], numbers: Iterable[int], kind: str) -> Mention:
    start = match.start()
    before = sentence[max(0, start - WINDOW) : start]
    aside = COMPARES.search(before[-40:]) or (
        start < 2 * WINDOW and CONDITION.match(sentence[:start]) and not CONCEDES.match(sentence)
    )
    return Mention(start, match[0].strip(), tuple(numbers), kind, role(before, start), bool(aside))


def role(before: str, start: int) -> str:
    """What a mention is in its sentence, by what stands before it."""
    if start > 4 and INTRODUCED.search(before):
        return "introduced"
    if OBLIQUE.search(before):
        return "oblique" if start <= NEAR else "oblique_late"
    return "subject" if start <= EARLY else "other"


def _counted(match: re.Match[str], work: Movements) -> int:
    """The number of a movement that is counted: "the second Allegro" may be the third movement."""
    number, noun = number_of(match["word"], work.last), term(match["noun"])
    so_named = [n for n, words in enumerate(work.terms, 1) if noun in words]
    among = match["word"].lower() in ORDINALS and match[0].count(" ") == 1 and "," not in match[0]
    if not among or number in so_named or number > len(so_named):
        return number
    return so_named[number - 1]


def number_of(word: str, last: int) -> int:
    """The number of a movement that an ordinal stands for."""
    word = word.lower()
    if word in LAST:
        return last
    return last - 1 if word == "penultimate" else NUMBERS[word]


def _named(sentence: str, work: Movements) -> Iterator[Mention]:
    """Movements by the words of their names, or by what these mean."""
    for match in WORD.finditer(sentence):
        found = _meant(match[0], work)
        if found and not len(found[0]) == work.last > 1:
            yield _mention(sentence, match, *found)
    if any(work.phrases):
        folded = sentence.casefold()
        for phrase in dict.fromkeys(filter(None, work.phrases)):
            at = folded.find(phrase)
            if at >= 0:
                numbers = tuple(n for n, name in enumerate(work.phrases, 1) if name == phrase)
                yield Mention(at, phrase, numbers, "phrase", role(sentence[:at][-WINDOW:], at))


def _meant(text: str, work: Movements) -> tuple[tuple[int, ...], str] | None:
    """The movements that a word may mean, and how."""
    word = term(text)
    holders = tuple(n for n, words in enumerate(work.terms, 1) if word in words)
    if holders:
        tempo = word in SLOW or word in MODERATE or word in FAST
        kind = "tempo_word" if tempo else "form_word" if word in DANCES else "other_word"
    else:
        meanings, kind = concepts(word) - PLAIN, "concept"
        if meanings:
            holders = tuple(n for n, words in enumerate(work.meanings, 1) if words & meanings)
        if not holders:
            holders, kind = _implied(word, work), "implied"
    return (holders, "weak_word" if word in WEAK else kind) if holders else None


def _implied(word: str, work: Movements) -> tuple[int, ...]:
    """The movements that a word of tempo or form may mean where no name has it."""
    if word in INNER:
        return tuple(n for n in range(2, work.last) if n not in work.slow) or tuple(
            range(2, work.last)
        )
    if word in SLOW or word == "andante":
        return work.slow
    if word in FAST:
        return tuple(n for n, kind in enumerate(work.tempi, 1) if kind == "fast")
    return (work.last,) if word == "rondo" else ()


def unlisted(sentence: str, last: int) -> bool:
    """Whether a sentence counts a movement beyond the last: "the fifth movement" of four."""
    found = (m for m in ORDINAL.finditer(sentence) if m["noun"].lower() == "movement")
    return any(number_of(match["word"], last) > last for match in found)


def several(sentence: str, last: int) -> tuple[int, ...]:
    """The neighbouring movements that a sentence speaks of together; () = it does not."""
    if plural := _plural(sentence, last):
        return plural[1]
    match = SECOND_OF_TWO.search(sentence)
    number = number_of(match[1], last) if match else 0
    if match is None or not 1 < number <= last:
        return ()
    first = re.search(rf"\b{ORDINALS[number - 2]}\b", sentence[: match.start()], re.IGNORECASE)
    return (number - 1, number) if first else ()


def _plural(sentence: str, last: int) -> tuple[re.Match[str], tuple[int, ...]] | None:
    """Where a sentence names neighbouring movements together, and which, unless it compares."""
    match = PLURAL.search(sentence)
    if match is None or COMPARES.search(sentence[: match.start()][-40:]):
        return None
    inside = tuple(n for n in _range(match, last) if 1 <= n <= last)
    return (match, inside) if len(inside) > 1 else None


def _range(match: re.Match[str], last: int) -> range:
    """The movements of a plural; the first and the last of four are no neighbours: none."""
    if match["inner"]:
        return range(2, last)
    first = number_of(match["one"], last)
    if match["count"]:
        count = ("two", "three").index(match["count"].lower()) + 2
        return range(last - count + 1, last + 1) if first == last else range(first, first + count)
    other = number_of(match["other"], last)
    apart = match["link"].lower() == "and" and other != first + 1
    return range(0) if apart else range(first, other + 1)
