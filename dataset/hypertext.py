"""Outside text as HTML that stays text, and tables of it."""

import html
import unicodedata
from collections.abc import Iterable, Sequence

UNSEEN = ("Cc", "Cs")  # Unicode categories that no page can show: control characters, surrogates
# Embeddings, overrides and isolates: one that is not ended turns what follows, <bdi> or not.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
WORD = 24  # letters: a cell with longer words may break them
CELL = 300  # letters of a cell
LABEL = 120  # letters of a label or title


def escape(text: object) -> str:
    """Any text as HTML, in element and attribute alike.

    U+FFFD stands for control characters and for those that turn the direction of what follows.
    """
    return html.escape("".join(map(seen, str(text))), quote=True)


def seen(letter: str) -> str:
    """A letter, or what stands for it."""
    harmful = letter in TURNING or unicodedata.category(letter) in UNSEEN
    return "\ufffd" if harmful and letter not in "\n\t" else letter


def isolated(text: object, most: int | None = None) -> str:
    """Outside text within a line, so that its direction changes nothing around it."""
    return f"<bdi>{escape(text if most is None else shortened(str(text), most))}</bdi>"


def shortened(text: str, most: int) -> str:
    """At most so many letters of a text; a cut one ends with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def section(title: str, body: str) -> str:
    """A part of the page, under a heading that `anchor` names."""
    return f'<section id="{anchor(title)}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def anchor(title: str) -> str:
    """The name of a section in addresses of the page."""
    return "-".join(title.lower().split())


def table(head: Sequence[str], rows: Iterable[Sequence[object]], total: bool = False) -> str:
    """A table; numbers to the right; with `total` the last row is set off as the sum."""
    lines = [list(row) for row in rows]
    numeric = [all(is_number(line[n]) for line in lines) for n in range(len(head))]
    marks = [' class="number"' if number else "" for number in numeric]
    titles = "".join(f"<th{m}>{escape(h)}</th>" for m, h in zip(marks, head, strict=True))
    body = ""
    for position, line in enumerate(lines):
        cells = "".join(
            f"<td{mark or breaking(value)}>{cell(value)}</td>"
            for mark, value in zip(marks, line, strict=True)
        )
        last = total and position == len(lines) - 1
        body += f"<tr{' class=sum' if last else ''}>{cells}</tr>\n"
    whole = f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
    return f'<div class="scroll">{whole}</div>'


def cell(value: object) -> str:
    """What stands in a cell."""
    return f"{value:,}" if isinstance(value, int) else isolated(value, CELL)


def breaking(value: object) -> str:
    """The mark of a cell whose words may be broken, as an address is."""
    return ' class="long"' if max(map(len, str(value).split()), default=0) > WORD else ""


def is_number(value: object) -> bool:
    """Whether a cell holds a count or a share."""
    return isinstance(value, int) or str(value).endswith(" %")


def percent(share: float) -> str:
    """A share, 0..1, for a cell."""
    return f"{100 * share:.1f} %"
