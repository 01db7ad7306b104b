"""One self-contained HTML page: counts, plots, splits, failures, samples to hear."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.files import write_atomic
from crawler.ledger import State, folder_lock
from crawler.summary import Progress, Summary, silent
from dataset.facts import Facts, gather
from dataset.hypertext import anchor, escape, isolated, percent, section, table
from dataset.pairs import SCHEMA_VERSION, stable_id
from dataset.plots import Band, bar_list, bars, histogram
from dataset.samples import cards

REPORT_NAME = "report.html"
REPORT_VERSION = 3  # raise when the same folder gives another page
STUDY = "the 2022 study"
STUDY_DURATION = Band(153, 855, "s", STUDY)
STUDY_TOKENS = Band(14, 192, "wordpieces", STUDY)
STYLE = Path(__file__).with_name("report.css")
IN_ORDER = ("page", "source", "cut")  # stages of the ledger
MOST_FAILURES = 100  # told one by one
Row = Mapping[str, Any]


def report(data: Path, progress: Progress = silent) -> Summary:
    """Write report.html, which needs no other file and no network; the same folder, same bytes.

    A page that is up to date is left alone. UserError when there is no index.
    """
    with folder_lock(data):
        facts, style = gather(data), STYLE.read_text(encoding="utf-8")
        digest = stable_id(REPORT_VERSION, facts.digest, style)
        page = data / REPORT_NAME
        if page.is_dir():
            raise UserError(f"{page} is a folder: move it away, the report gets that name")
        stale = not page.is_file() or not _is_current(page.read_bytes(), digest)
        if stale:
            body = _page(data, facts, style, progress).encode()
            write_atomic(page, body + _mark(digest, body))
    return Summary(
        stage="report",
        total=len(facts.rows),
        counts=dict(sorted(Counter(row["status"] for row in facts.rows).items())),
        artifact=page,
        details={"samples": len(facts.samples), "bytes": page.stat().st_size},
        work_done=int(stale),
    )


def _mark(digest: str, body: bytes) -> bytes:
    """The page's last line: what it was made of, and the sha256 of all before."""
    return f"<!-- earscribe {digest} {hashlib.sha256(body).hexdigest()} -->\n".encode()


def _is_current(page: bytes, digest: str) -> bool:
    body = page[: page.rfind(b"<!-- earscribe ")]
    return page == body + _mark(digest, body)


def _page(data: Path, facts: Facts, style: str, progress: Progress) -> str:
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    parts = {
        "From page to pair": _funnel(facts),
        "How everything ended": _ends(facts),
        "Lengths and levels": _lengths(facts),
        "What it holds": _contents(facts),
        "Splits": _splits(facts),
        "Listen and read": cards(data, facts.samples, len(facts.ok), progress),
        "Failures": _failures(facts.rows),
        "How to rebuild it": _rebuild(facts),
    }
    links = "".join(f'<a href="#{anchor(title)}">{escape(title)}</a>' for title in parts)
    body = "\n".join(section(title, part) for title, part in parts.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Earscribe corpus report</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body>\n{_totals(facts)}\n<nav aria-label="Sections">{links}</nav>\n{body}\n'
        "</body>\n</html>\n"
    )


# ---------------------------------------------------------------- what the corpus holds


def _totals(facts: Facts) -> str:
    ok = facts.ok
    seconds = sum(row["num_samples"] / row["sample_rate"] for row in facts.clips)
    words = sum({(row["work_id"], row["caption"]): row["num_words"] for row in ok}.values())
    long = seconds >= 3600
    totals = {
        "pairs of text and music": f"{len(ok):,}",
        "works": f"{len({row['work_id'] for row in ok}):,}",
        "composers": f"{len({row['composer'] for row in ok} - {''}):,}",
        "clips": f"{len(facts.clips):,}",
        "hours of clips" if long else "minutes of clips": (
            f"{seconds / 3600:,.1f}" if long else f"{seconds / 60:,.1f}"
        ),
        "words": f"{words:,}",
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in totals.items())
    return (
        '<header>\n<p class="eyebrow">Earscribe</p>\n<h1>Music and what is said of it</h1>\n'
        "<p>Each pair is a text beside the stretch of a recording that it speaks of.</p>\n"
        f'<dl class="totals">{items}</dl>\n</header>'
    )


def _funnel(facts: Facts) -> str:
    pages = Counter[str]()
    for stage, state, _, count in facts.ledger:
        pages.update({state: count} if stage == "page" else {})
    sources: dict[str, int] = {}
    if pages:
        sources |= {"pages asked for": sum(pages.values()), "pages read": pages[State.OK]}
    if facts.works is not None:
        sources["works"] = len(facts.works)
        sources["works with prose"] = sum(bool(work.notes) for work in facts.works)
        sources["works with a recording"] = sum(bool(work.recordings) for work in facts.works)
    asked = [r for r in facts.rows if (r["status"], r["stage"]) != (State.FILTERED, "pair")]
    pairs = {
        "texts": len(facts.texts),
        "pairs (a text with a recording)": len(facts.rows),
        "pairs to be fetched": len(asked),
        "pairs whose recording was had": sum(row["stage"] == "cut" for row in asked),
        "pairs with music": len(facts.ok),
    }
    parts = {
        r["definition"]["name"]: sum(part["rows"] for part in r["parts"].values())
        for r in facts.splits
    }
    figures = {"Pages and works": sources, "Texts and pairs": pairs, "Pairs in each split": parts}
    return _grid(_figure(title, bar_list(steps)) for title, steps in figures.items() if steps)


def _grid(figures: Iterable[str], kind: str = "grid") -> str:
    return f'<div class="{kind}">\n{"".join(figures)}\n</div>'


def _figure(title: str, body: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{body}</figure>"


def _ends(facts: Facts) -> str:
    """Every pair, and every item of the ledger, by its state and the reason."""
    counts = Counter(
        (row["status"], row["stage"], row["error_class"] or row["filter_reason"] or "")
        for row in facts.rows
    )
    all_rows = max(1, len(facts.rows))
    lines: list[Sequence[object]] = [
        (*key, count, percent(count / all_rows)) for key, count in sorted(counts.items())
    ]
    lines.append(("all", "", "", len(facts.rows), percent(len(facts.rows) / all_rows)))
    pairs = table(("state", "last stage", "class or reason", "pairs", "share"), lines, total=True)
    if not facts.ledger:
        return pairs
    order = sorted(facts.ledger, key=lambda row: IN_ORDER.index(row[0]))
    items = [(stage, state, why or "", count) for stage, state, why, count in order]
    known = table(("stage", "state", "class", "items"), items)
    return f"{pairs}\n<h3>Pages, recordings (source) and clips (cut) in the ledger</h3>\n{known}"


def _lengths(facts: Facts) -> str:
    durations = [row["num_samples"] / row["sample_rate"] for row in facts.clips]
    levels = [row["loudness_lufs"] for row in facts.clips if row["loudness_lufs"] is not None]
    tokens = [row["num_tokens"] for row in facts.texts]
    scores = [row["align_score"] for row in facts.texts]
    return _grid(
        (
            histogram("Length of the clips", durations, "s", STUDY_DURATION),
            histogram("Length of the texts", tokens, "tokens", STUDY_TOKENS),
            histogram("Loudness of the clips", levels, "LUFS"),
            histogram("How sure the text is of its movement", scores),
        ),
        "grid two",
    )


def _contents(facts: Facts) -> str:
    rows = facts.ok or facts.rows
    years = {row["work_id"]: row["year"] for row in rows if row["year"] is not None}
    decades = [year - year % 10 for year in years.values()]

    def counted(name: str) -> dict[str, int]:
        return dict(Counter(str(row[name] or "not said") for row in rows))

    return _grid(
        (
            bars("Composers", counted("composer")),
            bars("Ensembles", counted("ensemble")),
            bars("Keys", counted("key")),
            histogram("Works by decade", decades, step=10, years=True),
            bars("Modes", counted("mode")),
            bars("Tempo of the movement", counted("tempo_class")),
            bars("Sources of the texts", counted("note_source")),
        ),
        "columns",
    )


# ---------------------------------------------------------------- splits


def _splits(facts: Facts) -> str:
    unread = "".join(f'<p class="missing">{isolated(why)}</p>\n' for why in facts.unread)
    if not facts.splits and not unread:
        return '<p class="quiet">No split yet: run <code>earscribe split</code>.</p>'
    return unread + "\n".join(map(_split, facts.splits))


def _split(record: Mapping[str, Any]) -> str:
    parts = [
        (name, part["rows"], percent(part["share"]), part["works"], part["composers"])
        for name, part in record["parts"].items()
    ]
    left = [(why, count) for why, count in record["left_out"].items() if count]
    return "\n".join(
        (
            f"<h3>{isolated(record['definition']['name'])}</h3>",
            _definition(record),
            table(("part", "pairs", "share", "works", "composers"), parts),
            table(("left out", "pairs"), left) if left else "",
            _leaks(record),
        )
    )


def _definition(record: Mapping[str, Any]) -> str:
    """How a split was asked for; what another version adds is told under its own name."""
    made = record["definition"]
    said = {name: value for name, value in made.items() if value not in (None, False, "", [])}
    said |= {"seed": made.get("seed", 0)}  # 0 is False too
    folds, fractions = said.pop("folds", None), said.pop("fractions", ())
    dealt = f"{folds} folds" if folds else " : ".join(f"{share:g}" for share in fractions)
    group = said.pop("group", "nothing")
    told = [dealt] if made.get("method") == "released" else [dealt, f"grouped by {group}"]
    told += [f"{name} {said[name]}" for name in said if name not in ("name", "where")]
    groups, predicate = record.get("groups", {}), record.get("predicate")
    if {"number", "largest"} <= groups.keys():
        told.append(f"{groups['number']:,} groups, the largest of {groups['largest']:,} pairs")
    where = f"<br>where <code>{isolated(predicate)}</code>" if predicate else ""
    return f"<p>{isolated(', '.join(told))}{where}</p>"


def _leaks(record: Mapping[str, Any]) -> str:
    """What share of each part also stands where a model learns from."""
    shares = record["leaks"]
    if not shares:
        return ""
    kinds = list(next(iter(shares.values())))
    lines = [
        (part, *(percent(found[kind]["share"]) for kind in kinds)) for part, found in shares.items()
    ]
    learnt = "train" if "train" in record["parts"] else "the other folds"
    names = [kind.replace("_", " ") for kind in kinds]
    told = f"Share of the pairs whose {', '.join(names)} also stands in {learnt}"
    return f'<p class="quiet">{told}, counted in the written files:</p>\n' + table(
        ("part", *names), lines
    )


# ---------------------------------------------------------------- failures and rebuilding


def _failures(rows: Sequence[Row]) -> str:
    counts = Counter(
        (row["error_class"] or "", row["source_url"], row["error_message"] or "")
        for row in rows
        if row["status"] == State.FAILED
    )
    if not counts:
        return '<p class="quiet">None.</p>'
    classes = Counter[str]()
    for (error_class, _, _), count in counts.items():
        classes[error_class or "no class"] += count
    shown = [(*key, count) for key, count in sorted(counts.items())[:MOST_FAILURES]]
    rest = len(counts) - len(shown)
    more = f'<p class="quiet">and {rest:,} others, all of them in the index</p>' if rest else ""
    return (
        f"{_grid([bars('Pairs by class', classes)])}\n"
        + table(("class", "source", "what was said", "pairs"), shown)
        + more
    )


REBUILD = (  # stage -> what it needs besides the folder
    ("crawl", " --seeds FILE --contact YOU"),
    *((stage, "") for stage in ("pair", "fetch", "validate")),
    ("split", " --config FILE"),
    ("report", ""),
)


def _rebuild(facts: Facts) -> str:
    commands = "\n".join(f"earscribe {stage} --data DIR{more}" for stage, more in REBUILD)
    definitions = "\n".join(f"<pre>{_toml(r['definition'])}</pre>" for r in facts.splits)
    settings = ", ".join(sorted({row["config_fingerprint"] or "none" for row in facts.ok}))
    free = sum(row["redistributable"] for row in facts.ok)
    facts_table = table(
        ("fact", "value"),
        [
            ("sha256 of the index", facts.index_sha256),
            ("schema version", str(SCHEMA_VERSION)),
            ("settings that shape the clips", settings or "none yet"),
            ("pairs that may be passed on", f"{free:,} of {len(facts.ok):,}"),
        ],
    )
    config = f"<p>The file holds for each split:</p>\n{definitions}\n" if definitions else ""
    why = "" if free == len(facts.ok) else "Some of it may not be passed on. Instead of a copy, "
    return (
        f"<p>{why or 'From its sources, '}one command makes the corpus anew. It goes through all "
        "stages, and can be stopped and given again at any moment:</p>\n"
        "<pre>earscribe build --data DIR --config FILE</pre>\n"
        "<p>Or stage by stage; <code>--seeds</code> lists the pages to crawl, a line each, and "
        "<code>--contact</code> is your mail address:</p>\n"
        f"<pre>{commands}</pre>\n{config}{facts_table}"
    )


def _toml(definition: Mapping[str, Any]) -> str:
    """A [split] table that gives this split again; JSON text and numbers are TOML too."""
    values = {name: value for name, value in definition.items() if value is not None}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return escape("\n".join(["[split]", *lines]))
