"""Work pages in three invented markups, made from a work and the traps of its page.

No page's HTML is known. What is shown, its order and its irregularities follow the site; elements,
classes and attributes are made up, and every sentence is our own. `python -m tests.page_markups`
writes the files of tests/fixtures/pages anew from their work.json and traps.json.
"""

import html
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.items import Note, Part, Recording, Work, work_from_dict

FOLDER = Path(__file__).parent / "fixtures" / "pages"
NOTICE = "<!-- invented markup: no page of the site is known -->"
ROMAN = ("", "I", "II", "III", "IV", "V", "VI")
GLOSSARY = (
    ("allegro", ", allegretto [I]—lively, at a brisk pace."),
    ("finale", " [I]—the last movement of a work."),
)
Traps = Mapping[str, Any]


@dataclass(frozen=True)
class Playable:
    """A playlist row: what it shows and what it hands to the player."""

    shown: tuple[str, ...]  # time, performers, movement; those that there are
    values: Mapping[str, str | int | float]
    link: str


def fixtures() -> Iterator[tuple[Path, Work, Traps]]:
    """Every fixture folder with its work and its traps."""
    for folder in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        work = work_from_dict(json.loads((folder / "work.json").read_text(encoding="utf-8")))
        yield folder, work, json.loads((folder / "traps.json").read_text(encoding="utf-8"))


def e(text: object) -> str:
    """Text as HTML, the usual entities."""
    return html.escape(str(text), quote=True)


def odd(text: object) -> str:
    """Text as HTML, every character that may be one as a numeric entity."""
    return "".join(c if c.isalnum() or c in " ,:" else f"&#x{ord(c):X};" for c in str(text))


def clock(seconds: float) -> str:
    """m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def life(work: Work, traps: Traps) -> list[str]:
    """Name, dates, nationality, birth and death."""
    person = work.composer
    lines = [person.name, f"{person.name} ({person.birth_year}-{person.death_year or ''})"]
    if person.nationality:
        lines.append(f"Nationality: {person.nationality}")
    born = f"Born: {person.born}" if person.born else ""
    died = f"Died: {person.died} (age 50)" if person.died else ""
    return lines + ([born + ("" if traps.get("glued") else " ") + died] if born or died else [])


def playlist(work: Work, traps: Traps) -> list[Playable]:
    """The rows in their order."""
    return [
        Playable(_shown(item, part, traps), _values(item, index, traps), _link(work, part))
        for item in work.recordings
        for index, part in enumerate(item.parts)
    ]


def _shown(recording: Recording, part: Part, traps: Traps) -> tuple[str, ...]:
    time = "" if part.duration_s is None else clock(part.duration_s)
    who = ", ".join(recording.performers) + "".join(f" ({word})" for word in recording.qualifiers)
    number = traps.get("labels", {}).get(recording.recording_id, part.movement)
    name = f"{ROMAN[number]}. {part.name}" if number else part.name
    return tuple(filter(None, (time, who, name)))


def _values(recording: Recording, index: int, traps: Traps) -> dict[str, str | int | float]:
    part = recording.parts[index]
    last = index + 1 == len(recording.parts)
    return {
        "youtube_id": part.video_id[:12] if traps.get("twelve") else part.youtube_id or "",
        "video_id": part.video_id,
        "next_video": "0" if last else recording.parts[index + 1].video_id,
        "movement_id": "" if part.movement is None else part.movement,
        "start": int(part.start_s or 0),
        "end": int(part.end_s or 0),
    }


def _link(work: Work, part: Part) -> str:
    return f"{work.page_url}?v={part.video_id}"


def counts(work: Work) -> str:
    """'1 recording, 4 videos'."""
    some, all_ = len(work.recordings), sum(len(item.parts) for item in work.recordings)
    return f"{some} recording{'s'[: some != 1]}, {all_} video{'s'[: all_ != 1]}"


def headings(note: Note, traps: Traps) -> list[str]:
    """What stands above a note's prose."""
    return traps.get("heads", []) if note.source == "earsense" else [f"From {note.source}"]


def related(work: Work, traps: Traps) -> list[list[str]]:
    """The related composers, each with what is told of them."""
    told = ["Born: May 1, 1801, FuldaDied: May 2, 1851, Bonn (age 50)"]
    return [[name, *(told if traps.get("related_life") else [])] for name in work.related]


# ------------------------------------------------------------------------------------------------
# Lists, with data attributes in any order


def lists(work: Work, traps: Traps) -> str:
    """h1, p, ol, dl, ul; a row is an li that carries its values."""
    out = ["<nav><a href=/>home</a> <a href=/glossary/>terms</a></nav>"]
    if place := traps.get("list"):
        out.append(f"<p class=k-list>{e(place[0])}<br>{place[1]} of {place[2]}</p>")
    name, *rest = life(work, traps)
    out.append(f"<div class='k-who'><h2><img src='/p.jpg' alt='portrait'><a href='/x'>{e(name)}</a>"
               f"</h2>{''.join(f'<p>{e(line)}</p>' for line in rest)}</div>")  # fmt: skip
    out.append(f'<h1 class="k-title">{e(work.title)}</h1>')
    if work.instrumentation:
        out.append(f"<p class=k-for>(for {e(work.instrumentation)})</p>")
    rows = [
        ("" if item.typical_s is None else f"<b>{clock(item.typical_s)}</b> ")
        + f"{ROMAN[item.number]}.{'<br>' if traps.get('numerals_apart') else ' '}{e(item.name)}"
        for item in work.movements
    ]
    out.append(f"<ol class=k-mov>{''.join(f'<li>{row}</li>' for row in rows)}</ol>")
    facts = [
        f"<p>{label}:{'</p><p>' if label in traps.get('below', ()) else ' '}{e(value)}</p>"
        for label, value in work.facts.items()
    ]
    out.append(f"<section class=k-facts>{''.join(facts)}</section>")
    if work.recordings:
        out += [f"<p class=k-count>{counts(work)}</p><p>autoopen autoplay</p>"]
        items = [_list_item(row, traps) for row in playlist(work, traps)]
        out += ["<ul class=k-rows>", *items, "</ul>"]
    out += [
        "<article class=k-note>"
        + "".join(f"<h3>{e(line)}</h3>" for line in headings(note, traps))
        + "".join(f"<p>{e(text)}</p>" for text in note.text.split("\n\n"))
        + (f"<p><small>{e(note.credit)}</small></p>" if note.credit else "")
        + "</article>"
        for note in work.notes
    ]
    out += ["<h3>Related Composers</h3>", "<ul class=k-rel>"]
    out += ["<li>" + "<br>".join(map(e, lines)) + "</li>" for lines in related(work, traps)]
    terms = "".join(f"<p><b>{t}</b>{d} <a href=/e>explore</a> | <a href=/w>wiki</a></p>"
                    for t, d in GLOSSARY)  # fmt: skip
    return "\n".join([*out, "</ul>", f"<h3>glossary</h3>{terms}"])


def _list_item(row: Playable, traps: Traps) -> str:
    shown = "".join(f"<p>{e(text)}</p>" for text in row.shown)
    if traps.get("links"):
        return f"<li><a href='{e(row.link)}'>{shown}</a></li>"
    names = sorted(row.values, key=lambda name: name[::-1])
    carried = " ".join(f'data-{name.replace("_", "-")}="{e(row.values[name])}"' for name in names)
    return f"<li {carried}>{shown}</li>"


# ------------------------------------------------------------------------------------------------
# Tables, with calls


def tables(work: Work, traps: Traps) -> str:
    """Nested tables, upper-case tags, <BR>, numeric entities; a row calls the player."""
    out = ["<TABLE><TR><TD>"]
    if place := traps.get("list"):
        out.append(f"{odd(place[0])}<BR>{place[1]} of {place[2]}<BR>")
    out += ["<BR>".join(odd(line) for line in life(work, traps)), "</TD></TR></TABLE>"]
    players = f" (for {odd(work.instrumentation)})" if work.instrumentation else ""
    out.append(f"<CENTER><FONT size=5>{odd(work.title)}</FONT>\n<I>{players}</I></CENTER>")
    rows = [
        f"<TR><TD>{'' if item.typical_s is None else clock(item.typical_s)}<TD>"
        f"{ROMAN[item.number]}.{'<TD>' if traps.get('numerals_apart') else '&nbsp;'}"
        f"{odd(item.name)}"
        for item in work.movements
    ]
    out.append(f"<TABLE>{''.join(rows)}</TABLE><TABLE>")
    for label, value in work.facts.items():
        between = "<TD>" if label in traps.get("below", ()) else "&#32;"
        out.append(f"<TR><TD><B>{label}:</B>{between}{odd(value)}</TR>")
    out.append("</TABLE>")
    if work.recordings:
        beside = " " if traps.get("controls_beside") else "<BR>"
        out.append(f"<DIV>{counts(work)}{beside}<SPAN>autoopen autoplay</SPAN></DIV><TABLE>")
        out += [_table_row(row, traps) for row in playlist(work, traps)]
        out.append("</TABLE>")
    for note in work.notes:
        texts = [*headings(note, traps), *note.text.split("\n\n")]
        texts += [note.credit] if note.credit else []
        out.append(f"<HR>{'<BR><BR>'.join(odd(text) for text in texts)}")
    out.append("<TABLE><CAPTION>Related Composers</CAPTION>")
    out += [f"<TR><TD>{'<BR>'.join(map(odd, lines))}" for lines in related(work, traps)]
    terms = "<BR>".join(f"{t}{d} explore | wiki" for t, d in GLOSSARY)
    return "\n".join([*out, f"</TABLE><DIV>glossary<BR>{terms}</DIV>"])


def _table_row(row: Playable, traps: Traps) -> str:
    cells = "".join(f"<TD>{odd(text)}" for text in row.shown)
    if traps.get("links"):
        video = row.values["video_id"]
        return f'<TR><TD>{cells}<TD><IFRAME data-src="//youtube.com/embed/{video}"></IFRAME>'
    arguments = [
        repr(value) if isinstance(value, str) else str(value) for value in row.values.values()
    ]
    shown = [json.dumps(text, ensure_ascii=False) for text in row.shown]
    call = f"return playVideo(this, {', '.join([*arguments, *shown])});"
    return f'<TR ONCLICK="{e(call)}">{cells}'


# ------------------------------------------------------------------------------------------------
# Nested divs, with the data in a script


def divs(work: Work, traps: Traps) -> str:
    """Divs in divs, each piece of a line an element, comments between; the values are JSON."""
    out = [_script(playlist(work, traps), traps)]
    if place := traps.get("list"):
        parts = (f"<div>{e(place[0])}", f"<span> {place[1]} of {place[2]}</span></div>")
        out.append("<p></p>".join(parts) if traps.get("context_below") else "".join(parts))
    name, dates, *rest = life(work, traps)
    out.append(f"<div>{_div(e(name))}<!-- {e(name)} --><div><span>{e(dates)}</span> ")
    out.append(" ".join(f"<span>{e(line)}</span>" for line in rest) + "</div></div>")
    title = work.title.split(" ")
    out.append(_div(f"{e(' '.join(title[:2]))}\n  <em>{e(' '.join(title[2:]))}</em>"))
    out.append(_div(f"(for\u00a0{e(work.instrumentation)})") if work.instrumentation else "")
    for item in work.movements:
        time = "" if item.typical_s is None else _div(clock(item.typical_s))
        out.append(_div(f"{time}{_div(ROMAN[item.number] + '.')}{_div(e(item.name))}"))
    for label, value in work.facts.items():
        out.append(f"<div><div>{label}:</div><div>{e(value)}</div></div>")
    if work.recordings:
        some, all_ = counts(work).split(", ")
        out.append(f"<div><div>{some},</div><div>{all_}</div></div>")
        out.append("<div><label>autoopen</label><label> autoplay</label></div>")
    for row in playlist(work, traps):
        inner = "".join(f"<div>{e(text).replace('. ', '.<wbr> ')}</div>" for text in row.shown)
        out.append(_div(_div(_div(inner))))
    for note in work.notes:
        texts = [*headings(note, traps), *note.text.split("\n\n")]
        texts += [note.credit] if note.credit else []
        out.append(_div("".join(_div(_prose(text)) for text in texts)))
    out.append(_div("Related Composers"))
    out += [_div("".join(_div(e(line)) for line in lines)) for lines in related(work, traps)]
    terms = "".join(_div(f"{t}<span>{d}</span> explore | wiki") for t, d in GLOSSARY)
    return "\n".join([*out, _div(f"<b>glossary</b>{terms}")])


def _div(inside: str) -> str:
    return f"<div>\n  {inside}\n</div>"


def _prose(text: str) -> str:
    words = [e(word) for word in text.split(" ")]
    words[-1] = f"<i>{words[-1]}</i>"
    return "\n    ".join(words)


def _script(rows: list[Playable], traps: Traps) -> str:
    if traps.get("links"):
        data: Any = [f"https://www.youtube.com/embed/{row.values['video_id']}" for row in rows]
    else:
        data = [{**row.values, "shown": " / ".join(row.shown)} for row in rows]
    text = json.dumps({"page": 1, "it's": data}).replace("/", "\\/")
    return f"<script>// don't\nvar state = {text};</script>"


MARKUPS: Mapping[str, Callable[[Work, Traps], str]] = {
    "lists": lists,
    "tables": tables,
    "divs": divs,
}


def page(work: Work, traps: Traps, markup: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html>\n{NOTICE}\n<html lang=en><head><meta charset="utf-8">'
        f"<title>{e(work.composer.name)} | {e(work.title)}</title></head>\n<body>\n"
        f"{MARKUPS[markup](work, traps)}\n</body></html>\n"
    )


def main() -> None:
    """Write every page of the fixtures."""
    for folder, work, traps in fixtures():
        for markup in MARKUPS:
            text = page(work, traps, markup)
            (folder / f"{markup}.html").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
