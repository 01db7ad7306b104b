"""A text as it stands on a page -> a caption."""

import re
import unicodedata
from dataclasses import dataclass

from dataset.tags import TERMS, term

PIECES = re.compile(r"\w+|[^\w\s]")
STRAIGHT = str.maketrans("“”„‟‘’‚‛", "\"\"\"\"''''")
GLUED = re.compile(r"\b([Oo]pp?|Nos?)\.(?=\d)")  # "Op.8"
NUMBERING = re.compile(r"(?:\d{1,2}(?:(?:\.,?|\))\s+(?=\S)|[.)](?=[^\W\d_])))+")  # "4. ", "4.The"

# --- sentences: what is sold is taken out whole
STOP = re.compile(r"[.!?…][\"'”’)\]]*\s+(?=[\"'“‘(\[]*(?:[A-Z0-9À-Ý$€£]|our\b))")
ABBREVIATED = frozenset("op opp no nos nr cf vs mr mrs ms dr st k d hob e.g i.e c ca".split())

# --- the seller's clips
BITE = r"(?:sound|audio)[-‐‑ ]?(?:bites?|clips?|samples?)\b(?! into\b)"
BITES = re.compile(rf"\b{BITE}", re.IGNORECASE)
OUR_BITE = rf"(?:our|the|this|a) {BITE}"
HEARD = r"heard|presented|given|shown|played|found|sampled"
KNOWN = r"hear|see|seen|clear|evident|apparent"  # only in a clause of their own
GIVES = r"begins|starts|presents|gives|shows|features|demonstrates|illustrates"
NEEDS = frozenset(  # before "heard": without it nothing is said
    "be is are was were been being have has had we you one i also first best not it".split()
)
BRACKETED = re.compile(  # "(our sound-bite begins here)", with the full stop if one came before
    rf"(?:(?<=[.!?])|(?P<within>)) ?[(\[][^()\[\]]{{0,60}}\b{BITE}[^()\[\]]{{0,60}}[)\]]"
    r"(?(within)|\.?)",
    re.IGNORECASE,
)
INVITES = re.compile(
    r"\W*(?:(?:please|do|just|to) )?(?:listen|hear|click|try|you (?:can|may|will) hear)\b",
    re.IGNORECASE,
)
ASIDE = re.compile(  # ", as can be heard in our sound bite,", "where our sound bite begins"
    r"(?P<comma>,? ?)\b(?:(?:(?P<relative>(?:as|which|that) (?:(?:one|you|we|is|was|are|can|could"
    rf"|may|might|will|be|also|clearly|easily|readily) ){{0,6}}(?:{HEARD}|{KNOWN}))|{HEARD})"
    rf" (?:in|on|from|by|with) {OUR_BITE}"
    rf"|(?P<clause>(?:where|which|that|as) {OUR_BITE} (?:{GIVES})\b))(?P<after>,(?= ))?",
    re.IGNORECASE,
)
TAIL = re.compile(  # "; our soundbite presents its coda"
    rf"(?:;(?: and| but| while)?|, (?:and|but|while)) {OUR_BITE}[^;]*?"
    r"(?=;|[.!?…][\"'”’)\]]*\s*$|\s*$)",
    re.IGNORECASE,
)

# --- the seller's prices
PRICE = r"(?:US ?)?[$€£] ?\d{1,6}(?:,\d{3})*(?:\.\d\d)?(?!\d)"
EXACT = r"(?:US ?)?[$€£] ?\d{1,6}(?:,\d{3})*\.\d\d(?!\d)"  # to the cent: no prize or fee
GOODS = r"(?:set of parts|parts?|(?:full |study |pocket |miniature )?scores?)"
LABELLED = re.compile(  # "Parts & Score: $31.95"
    rf" ?\b(?:{GOODS}(?: ?(?:&|\+|and) ?{GOODS})?|prices?) ?[:=–-] ?{PRICE}\.?", re.IGNORECASE
)
BRACKETED_PRICE = re.compile(rf" ?[(\[]{EXACT}[)\]]")
ONLY_PRICE = re.compile(rf"\s*{PRICE}[\s.]*")
EXACTLY = re.compile(EXACT)
SELLS = re.compile(r"\b(?:parts|scores?|prices?|priced|order|available|edition)\b", re.IGNORECASE)

# --- the movement's place
PLACE = (
    r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|opening|middle|last|final|closing"
    r"|concluding)"
)
VERBS = (  # of a sentence on a movement, as far as they are known to be verbs there
    r"(?:(?:also|then|now|again|soon|first|[a-z]+ly) )?(?:is|was|has|had|begins|opens|starts|brings"
    r"|offers|features|presents|shows|sings|ends|closes|provides|gives|makes|takes|comes|follows"
    r"|goes|moves|runs|sounds|seems|recalls|returns|builds|combines|contrasts|consists|contains"
    r"|calls|creates|exudes|exhibits|leads|juxtaposes|plays|remains|resembles|serves|unfolds|uses"
    r"|appears|displays|introduces|alternates|concludes|dances|breathes|rises|grows|relies)\b"
)
VERB = re.compile(rf"\b{VERBS}")
NAMES = (TERMS | {"molto", "poco", "sehr", "theme"}) - {"finale", "trio"}
MARKED = r"(?:(?:marked|entitled|titled) )?"
THE = rf"(?P<the>(?:The|Its|This) (?:(?!(?:{PLACE}|and|or|of)\b)[\w-]+ )??)"  # "The lively "
# "The second movement, an Andante, is", "The finale, Presto, is"
APPOSED = re.compile(
    rf"{THE}(?:{PLACE} movement|finale), {MARKED}(?P<article>(?:an?|the) )?"
    r"(?P<name>[^\s,.;:!?][^,.;:!?]{0,60}"
    r"(?:, (?:ma|e|con|non|assai|quasi|poco|molto) [^,.;:!?]{1,40})?)"
    rf", (?={VERBS})"
)
JUXTAPOSED = re.compile(  # "The second movement Andante is"
    rf"{THE}{PLACE} movement (?P<name>[A-Z][\w-]+)\b(?=[^.!?]{{0,40}} {VERBS})"
)
PLACED = re.compile(  # "The lyrical second movement", "In the opening Allegro"
    rf"(?P<before>(?:(?:In|With|For|Throughout) the|The|Its|This) (?:(?!{PLACE}\b|and\b|or\b|of\b)"
    rf"[\w-]+ )?){PLACE} (?=(?:(?!and\b|or\b|of\b|to\b)[\w-]+ ){{0,2}}?(?P<noun>[\w-]+))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanConfig:
    """What becomes of a text before it is a caption; the raw text is kept beside it."""

    nfc: bool = True  # composed characters; soft hyphens, zero-width and control characters out
    quotes: bool = True  # curly quotes to straight ones; a single one is left where it is
    whitespace: bool = True  # single spaces, and one in "Op.8"; the ends are always trimmed
    numbering: bool = True  # "4. " and "4) " before the text out
    ordinals: bool = False  # "The second movement, Andante, is" -> "The Andante is", at the start
    seller: bool = True  # what refers to the seller's sound bites and prices out


DEFAULTS = CleanConfig()
TYPOGRAPHY = CleanConfig(numbering=False, seller=False)  # for words that a person chose


def clean(text: str, config: CleanConfig = DEFAULTS) -> str:
    """A text as `config` wants it, without white space around it; "" when nothing is left.

    A cleaned text stays as it is when it is cleaned again: the steps are repeated until they
    find nothing (they end, because each only shortens, composes or straightens the text).
    """
    while (cleaned := clean_once(text, config)) != text:
        text = cleaned
    return text


def clean_once(text: str, config: CleanConfig) -> str:
    """Every step of `clean` in its order."""
    if config.nfc:
        text = composed(text)
    if config.quotes:
        text = text.translate(STRAIGHT)
    if config.whitespace:
        text = " ".join(GLUED.sub(r"\1. ", text).split())
    text = text.strip()
    if config.numbering and (number := NUMBERING.match(text)):
        text = text[number.end() :]
    if config.seller:
        text = without_bites(without_prices(text))
    if config.ordinals:
        text = without_place(text)
    return text.strip()


def composed(text: str) -> str:
    """Composed characters; what cannot be printed is left out unless it is white space."""
    seen = "".join(sign for sign in text if sign.isprintable() or sign.isspace())
    return unicodedata.normalize("NFC", seen)


def num_words(text: str) -> int:
    """Words, split at white space."""
    return len(text.split())


def num_tokens(text: str) -> int:
    """Words and single punctuation marks: close to BERT's pre-tokenisation, no vocabulary."""
    return len(PIECES.findall(text))


# ---------------------------------------------------------------- what is sold


def pieces(text: str) -> list[str]:
    """The sentences of a text with the white space after them; joined they are the text."""
    found, start = [], 0
    for stop in STOP.finditer(text):
        words = text[max(start, stop.start() - 20) : stop.start()].split()
        last = words[-1].lstrip("(\"'“") if words else ""
        letter = len(last) == 1 and last.isupper()  # "J. S. Bach"
        a_key = words[-2:-1] == ["in"]  # "in C."
        if a_key or not (letter or last.lower() in ABBREVIATED):
            found.append(text[start : stop.end()])
            start = stop.end()
    return [*found, text[start:]]


def without_prices(text: str) -> str:
    """A text without prices; other sums of money stay: "a prize of $500"."""
    if not re.search("[$€£]", text):
        return text
    text = BRACKETED_PRICE.sub("", LABELLED.sub("", text))
    return "".join(sentence for sentence in pieces(text) if not is_offer(sentence))


def is_offer(sentence: str) -> bool:
    """Whether a sentence says what something costs."""
    offers = EXACTLY.search(sentence) and SELLS.search(sentence)
    return ONLY_PRICE.fullmatch(sentence) is not None or offers is not None


def without_bites(text: str) -> str:
    """A text without what it says of a sound bite: the aside, the clause or the sentence."""
    if not BITES.search(text):
        return text
    return "".join(without_bite(sentence) for sentence in pieces(BRACKETED.sub("", text)))


def without_bite(sentence: str) -> str:
    """A sentence without its aside or clause on a sound bite; "" where that is all it says."""
    if not BITES.search(sentence):
        return sentence
    rest = TAIL.sub("", ASIDE.sub(mend, sentence))
    if BITES.search(rest) or INVITES.match(sentence) or not PIECES.search(rest):
        return ""
    if sentence[0].isupper():
        rest = rest.lstrip()
        return rest[0].upper() + rest[1:]
    return rest


def mend(aside: re.Match[str]) -> str:
    """What stands in place of an aside; the aside itself where its sentence needs it."""
    before = aside.string[: aside.start()].split()
    apart = aside["relative"] or aside["clause"]
    if not apart and (not before or before[-1].lower() in NEEDS or before[-1].endswith("ly")):
        return aside[0]
    return "" if not before or aside["comma"].startswith(",") else aside["after"] or ""


# ---------------------------------------------------------------- the movement's place


def without_place(text: str) -> str:
    """A text whose first sentence does not say the place of the movement, where it can do so."""
    if found := APPOSED.match(text):
        if found["article"] or is_name(found["name"]):
            name = found["name"].replace(",", "")  # "Allegro, ma non troppo"
            return f"{found['the']}{name} {text[found.end() :]}"
    elif (found := JUXTAPOSED.match(text)) and is_name(found["name"]):
        return f"{found['the']}{text[found.start('name') :]}"
    if (found := PLACED.match(text)) and VERB.search(pieces(text)[0]):
        noun = found["noun"]
        if noun == "movement" or (noun[0].isupper() and is_name(noun)):
            return found["before"] + text[found.end() :]
    return text


def is_name(words: str) -> bool:
    """Whether words are the name of a movement: they begin with one of tempo or form."""
    first = re.match(r"[A-Z][^\W\d_]*(?=$|[\s,-])", words)
    return first is not None and term(first[0]) in NAMES
