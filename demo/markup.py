"""What the replica's pages look like: three invented markups of a work, an article, a video.

No page's HTML is known: only the visible order of the blocks and the values that a playlist row
carries follow the real site.
"""

import hashlib
import html
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crawler.errors import UserError
from crawler.items import Part, Person, Recording, Work

MARKUPS = ("list", "table", "script")

MEDIA_TYPES = {
    ".webm": "audio/webm",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
}
NOTICE = "This is a local replica for tests and demonstrations; its pages are not the site's own."
GLOSSARY = (
    "allegro, allegretto [I]—lively, at a brisk pace. explore | wiki",
    "finale [I]—the last movement of a work. explore | wiki",
)
ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
ROMAN = [ten + one for ten in ("", "X", "XX") for one in ONES][1:]  # 1..29

# ------------------------------------------------------------------------------------------------
# What a page says, in the order of the site


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def movement_line(number: int | None, name: str) -> str:
    """'II. Andante', or '' for a complete work."""
    return f"{ROMAN[number - 1]}. {name}".strip() if number else name


def life_lines(person: Person) -> list[str]:
    """Dates, nationality, birth and death as the site prints them."""
    lines = []
    if person.birth_year or person.death_year:
        lines.append(f"{person.name} ({person.birth_year or ''}-{person.death_year or ''})")
    if person.nationality:
        lines.append(f"Nationality: {person.nationality}")
    born = f"Born: {person.born}" if person.born else ""
    died = f"Died: {person.died}{_age(person)}" if person.died else ""
    return [*lines, *([f"{born} {died}".strip()] if born or died else [])]


def _age(person: Person) -> str:
    days = [
        re.match(r"[A-Z][a-z]+ \d{1,2}, \d{4}", day or "") for day in (person.born, person.died)
    ]
    if not (days[0] and days[1]):
        return ""
    born, died = (datetime.strptime(day.group(), "%B %d, %Y") for day in days if day)
    return f" (age {died.year - born.year - ((died.month, died.day) < (born.month, born.day))})"


def counts_line(work: Work) -> str:
    """'2 recordings, 8 videos'."""
    recordings, videos = len(work.recordings), sum(len(item.parts) for item in work.recordings)
    return f"{recordings} recording{'s' * (recordings != 1)}, {videos} video{'s' * (videos != 1)}"


def performers_line(recording: Recording) -> str:
    """'A Quartet, B (live)'."""
    qualifiers = "".join(f" ({qualifier})" for qualifier in recording.qualifiers)
    return ", ".join(recording.performers) + qualifiers


def video_values(recording: Recording, index: int) -> dict[str, str | int | float]:
    """What a playlist row hands to its player; 0 = no further video, from or to the end."""
    part = recording.parts[index]
    following = recording.parts[index + 1].video_id if index + 1 < len(recording.parts) else "0"
    movement: str | int = "" if part.movement is None else part.movement
    return {
        "youtube_id": part.youtube_id or "",
        "video_id": part.video_id,
        "next_video": following,
        "movement_id": movement,
        "start": _plain(part.start_s),
        "end": _plain(part.end_s),
    }


def _plain(seconds: float | None) -> int | float:
    value = seconds or 0
    return int(value) if value == int(value) else value


# ------------------------------------------------------------------------------------------------
# Three invented markups


def markup_of(slug: str) -> str:
    """The markup in which the replica serves a work."""
    return MARKUPS[hashlib.sha256(slug.encode()).digest()[0] % len(MARKUPS)]


def render_work(work: Work, markup: str) -> str:
    """The page of a work: "list" with data attributes, "table" with calls, "script" with JSON."""
    if markup not in MARKUPS:
        raise UserError(f"unknown markup {markup!r}: give one of {', '.join(MARKUPS)}")
    body = _list_body(work) if markup == "list" else _table_body(work, markup)
    return page(f"{work.composer.name}: {work.title}", body)


def page(title: str, body: str) -> str:
    """A whole page that says that it is a replica; `body` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_e(title)}</title>'
        f"</head>\n<body><nav><a href='/'>home</a></nav>\n{body}\n"
        f"<footer><small>{_e(NOTICE)}</small></footer></body></html>\n"
    )


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)


def _tag(name: str, text: object, attributes: str = "") -> str:
    return f"<{name}{' ' * bool(attributes)}{attributes}>{_e(text)}</{name}>"


def _list_body(work: Work) -> str:
    life = "".join(_tag("p", line) for line in life_lines(work.composer))
    movements = "".join(
        f"<li>{_tag('span', clock(item.typical_s)) if item.typical_s is not None else ''} "
        f"{_tag('span', movement_line(item.number, item.name))}</li>"
        for item in work.movements
    )
    facts = "".join(_tag("dt", f"{label}:") + _tag("dd", work.facts[label]) for label in work.facts)
    notes = "".join(
        f'<section class="note">{_tag("h3", "From " + note.source)}'
        + "".join(_tag("p", paragraph) for paragraph in note.text.split("\n\n"))
        + (_tag("p", note.credit, 'class="credit"') if note.credit else "")
        + "</section>\n"
        for note in work.notes
    )
    related = "".join(_tag("li", name) for name in work.related)
    title = _tag("h1", work.title, 'class="title"')
    return (
        f'<main class="work"><header class="composer">{_tag("h2", work.composer.name)}{life}'
        f"</header>\n{title}\n{_instrumentation(work, 'p')}\n"
        f'<ol class="movements">{movements}</ol>\n<dl class="facts">{facts}</dl>\n'
        f"{_list_playlist(work)}\n{notes}"
        f'<section class="related">{_tag("h3", "Related Composers")}<ul>{related}</ul></section>\n'
        f'<section class="glossary">{_tag("h3", "glossary")}'
        f"{''.join(_tag('p', line) for line in GLOSSARY)}</section></main>"
    )


def _instrumentation(work: Work, tag: str) -> str:
    if not work.instrumentation:
        return ""
    return _tag(tag, f"(for {work.instrumentation})", 'class="instrumentation"')


def _list_playlist(work: Work) -> str:
    if not work.recordings:
        return ""
    rows = "".join(
        f"<li {_data_attributes(video_values(recording, index))}>"
        + "".join(_tag("div", line) for line in _row_lines(recording, part) if line)
        + "</li>\n"
        for recording in work.recordings
        for index, part in enumerate(recording.parts)
    )
    return (
        f'<section class="recordings">{_tag("p", counts_line(work))}<p>autoopen autoplay</p>'
        f'<ul class="playlist">{rows}</ul></section>'
    )


def _data_attributes(values: Mapping[str, object]) -> str:
    return " ".join(f'data-{name.replace("_", "-")}="{_e(values[name])}"' for name in values)


def _row_lines(recording: Recording, part: Part) -> tuple[str, str, str]:
    duration = "" if part.duration_s is None else clock(part.duration_s)
    return duration, performers_line(recording), movement_line(part.movement, part.name)


def _table_body(work: Work, markup: str) -> str:
    head = [work.composer.name, *life_lines(work.composer)]
    movements = "".join(
        f"<tr><td>{'' if item.typical_s is None else clock(item.typical_s)}</td>"
        f"{_tag('td', movement_line(item.number, item.name))}</tr>"
        for item in work.movements
    )
    facts = "".join(
        _tag("b", f"{label}:") + f" {_e(work.facts[label])}<br>" for label in work.facts
    )
    notes = "".join(
        f"<div>From <i>{_e(note.source)}</i><br><br>"
        + "<br><br>".join(_e(paragraph) for paragraph in note.text.split("\n\n"))
        + (f"<br><br>{_e(note.credit)}" if note.credit else "")
        + "</div>\n"
        for note in work.notes
    )
    related = "".join(f"<tr>{_tag('td', name)}</tr>" for name in work.related)
    return (
        f"<table><tr><td>{'<br>'.join(_e(line) for line in head)}</td></tr></table>\n"
        f"<div><big>{_e(work.title)}</big></div>{_instrumentation(work, 'div')}\n"
        f"<table>{movements}</table>\n<div>{facts}</div>\n{_table_playlist(work, markup)}\n{notes}"
        f"<table>{_tag('caption', 'Related Composers')}{related}</table>\n"
        f"<div>glossary<br>{'<br>'.join(_e(line) for line in GLOSSARY)}</div>"
    )


def _table_playlist(work: Work, markup: str) -> str:
    if not work.recordings:
        return ""
    every = [
        (recording, part, video_values(recording, index))
        for recording in work.recordings
        for index, part in enumerate(recording.parts)
    ]
    rows = "".join(
        f"<tr{_call(values) if markup == 'table' else ''}>"
        + "".join(_tag("td", line) for line in _row_lines(recording, part))
        + "</tr>\n"
        for recording, part, values in every
    )
    data = _script([values for _, _, values in every]) if markup == "script" else ""
    return (
        f"<div>{counts_line(work)}</div><div>autoopen autoplay</div>\n<table>{rows}</table>{data}"
    )


def _call(values: Mapping[str, object]) -> str:
    arguments = ", ".join(
        f"'{value}'" if isinstance(value, str) else str(value) for value in values.values()
    )
    return f' onclick="{_e(f"play({arguments})")}"'


def _script(value: object) -> str:
    return f"<script>var videos = {_script_json(value)};</script>"


def _script_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def render_home(works: list[str], articles: list[str]) -> str:
    """The replica's list of its pages."""
    links = [f"/chamber-music/{slug}/" for slug in works]
    links += [f"/article/{slug}/" for slug in articles]
    items = "".join(f'<li><a href="{_e(link)}">{_e(link)}</a></li>' for link in links)
    return page("Replica", f"<h1>Replica</h1><ul>{items}</ul>")


def render_article(article: Mapping[str, str]) -> str:
    """An article's page: title, date, paragraphs."""
    date = _tag("p", article["date"], 'class="date"') if article.get("date") else ""
    paragraphs = "".join(_tag("p", text) for text in article["text"].split("\n\n"))
    return page(
        article["title"], f"<article>{_tag('h1', article['title'])}{date}{paragraphs}</article>"
    )


def render_watch(youtube_id: str, media: Mapping[str, Any], address: str) -> str:
    """A video's page; its media and chapters stand in JSON-LD, where yt-dlp reads both.

    The player is made by a script: yt-dlp prefers an <audio> tag, which knows no chapters.
    """
    suffix = Path(media["file"]).suffix
    target = f"/media/{quote(youtube_id)}{suffix}"
    facts = {
        "@context": "https://schema.org",
        "@type": "AudioObject",
        "name": media["title"],
        "description": media.get("description", ""),
        "contentUrl": address + target,
        "encodingFormat": MEDIA_TYPES[suffix],
        "hasPart": [
            {
                "@type": "Clip",
                "name": chapter["title"],
                "startOffset": chapter["start_s"],
                "endOffset": chapter["end_s"],
            }
            for chapter in media["chapters"]
        ],
    }
    return page(
        media["title"],
        f'<script type="application/ld+json">{_script_json(facts)}</script>'
        f"{_tag('h1', media['title'])}{_tag('p', media.get('description', ''))}"
        f'<p id="player"></p><script>var player = document.createElement("audio");'
        f"player.controls = true; player.src = {_script_json(target)};"
        'document.getElementById("player").append(player);</script>',
    )
