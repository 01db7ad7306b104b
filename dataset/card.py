"""The dataset card of an export: what it holds, whose it is, how to cite and rebuild it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from dataset.contents import Contents, Row, rights_of
from dataset.places import File

CARD_NAME = "README.md"  # written last: an export without it is unfinished
SUMS_NAME = "SHA256SUMS"
CROISSANT_NAME = "croissant.json"
EXPORT_VERSION = 3  # raise when the same split gives other files
MARK = b"\nearscribe_export: "  # in the card: this folder is ours
RIGHTS_LISTED = 30  # lines of the card
TITLE = "Chamber music and what is said of it"
STUDY = {
    "title": "Music-to-Text Synaesthesia: Generating Descriptive Text from Music Recordings",
    "author": "Kuang, Zhihuan and Zong, Shi and Zhang, Jianbing and Chen, Jiajun and Liu, Hongfu",
    "year": "2022",
    "eprint": "2210.00434",
    "archivePrefix": "arXiv",
    "url": "https://arxiv.org/abs/2210.00434",
}
CITATION = (
    "@article{kuang2022music,\n"
    + "".join(f"  {name} = {{{value}}},\n" for name, value in STUDY.items())
    + "}"
)
FREE = "https://creativecommons.org/publicdomain/zero/1.0/"
LICENCES = {  # rights as they stand in the index -> name at Hugging Face, address
    "CC0 1.0": ("cc0-1.0", FREE),
    "CC BY 4.0": ("cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "CC BY-SA 4.0": ("cc-by-sa-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
}
FACTS_RIGHTS = "CC0 1.0"  # of an export of ids: facts belong to nobody
LOCAL = "for local use only, not to be passed on"

UNFINISHED = """---
earscribe_export: unfinished
---

This export by Earscribe is still being written, or was broken off: run the same command again.
Its files:

{names}
"""

CARD = """---
pretty_name: "{title}"
license: {licence}
language: [en]
task_categories: [{task}]
tags: [music, chamber-music, music-captioning]
configs:
- config_name: default
  data_files:
{patterns}
earscribe_export: {version}
---

# {title}

{what}
{warning}
{counts}

{load}

## Columns

{columns}

## Rights

{rights}

## Citation

The method, and the corpus of 2022 that this one follows, are those of

```bibtex
{citation}
```

Name the pages (`page_url`) and the recordings (`source_url`) too: the prose and the playing are
their authors' work.

## How to rebuild it

{rebuild}

## Files

`{sums}` has the sha256 of every file of data (`sha256sum --check {sums}`), `croissant.json` says
the same for machines, and what each column is. Made by Earscribe from {source} has the sha256
`{made_from}`.
"""

WARNING = """
**This copy is for local use only and must not be passed on:** {bound} of its {total} pairs hold
prose or music that belongs to others, whose rights do not allow it (column `redistributable`).
"""

PAIRED = "Each row is one text of one movement with one recording of it"
REBUILD = """\
Everything comes from the pages in `page_url` and the recordings in `source_url`:
`earscribe crawl`, `pair`, `fetch`, `validate`, `split`, then `export {form}` again."""
WHAT = {
    "hf": f"{PAIRED}, whose sound is inside the parquet files.",
    "files": f"""\
{PAIRED}: a folder a part, with the clips as files (column
`file_name`) and three tables that hold the same. `metadata.parquet` has exact types and is what
`datasets` loads; `metadata.jsonl` is for everything else; `metadata.csv` is for spreadsheets and
was made safe for them: a text that begins with `=`, `+`, `-`, `@`, a tab or a line break has an
apostrophe before it, lists are written as JSON, and the character NUL is replaced.""",
    "ids": """\
Facts alone: which text of which page belongs to which stretch of which recording, as ids, names,
times and hashes. There is no prose in it and no sound, so it may be published; with it others
rebuild the same corpus and compare what they got.""",
}
LOAD = {
    "hf": """\
```python
from datasets import Audio, load_dataset

pairs = load_dataset("FOLDER").cast_column("audio", Audio(decode=False))
```

Without `cast_column` the sound is decoded, for which `datasets` needs its audio extra.""",
    "files": """\
```python
import pandas

pairs = pandas.read_parquet("FOLDER/PART/metadata.parquet")  # file_name: the clip beside it
```

`datasets.load_dataset("FOLDER")` reads the folder too, but for this layout it needs its audio
extra: `pip install "datasets[audio]"`.""",
    "ids": """\
```python
from datasets import load_dataset

facts = load_dataset("FOLDER", split="pairs")
```""",
}
HOW = {
    "ids": """\
`earscribe import ids FOLDER` keeps the facts beside a corpus and writes the pages to crawl into
`seeds.txt`; then `earscribe crawl --seeds`, `pair`, `fetch` and `validate`, which tells what came
out otherwise: another text (`caption_sha256`), another length, other samples (`pcm_md5`).""",
}


def card(contents: Contents) -> str:
    """The card, in Markdown after the lines that Hugging Face reads."""
    rows = contents.rows
    patterns = "\n".join(
        f"  - split: {part}\n    path: [{', '.join(paths)}]"
        for part, paths in contents.patterns.items()
    )
    return CARD.format(
        title=TITLE if contents.form != "ids" else f"{TITLE}: the facts",
        licence=_licence(contents),
        task="other" if contents.form == "ids" else "audio-to-text",
        patterns=patterns,
        version=EXPORT_VERSION,
        what=WHAT[contents.form],
        warning=WARNING.format(bound=contents.bound, total=len(rows)) if contents.bound else "",
        counts=_table(("part", *COUNTS), [_counts(*part) for part in contents.parts.items()]),
        load=LOAD[contents.form],
        columns=_columns(contents.schema),
        rights=_rights(contents),
        citation=CITATION,
        rebuild=HOW.get(contents.form, REBUILD).format(form=contents.form),
        sums=SUMS_NAME,
        source=contents.source,
        made_from=contents.made_from,
    )


def unfinished(names: Sequence[str]) -> bytes:
    """What stands in the card's place while files come and go; it tells which are ours."""
    return UNFINISHED.format(names="\n".join(f"- {name}" for name in names)).encode()


def sums(files: Mapping[str, File]) -> str:
    """The sums as `sha256sum --check` reads them."""
    return "".join(f"{file.sha256}  {name}\n" for name, file in sorted(files.items()))


# ---------------------------------------------------------------- what stands in it


COUNTS = ("pairs", "works", "composers", "hours")


def _counts(part: str, rows: Sequence[Row]) -> list[str]:
    seconds = sum(row["num_samples"] / row["sample_rate"] for row in rows)
    works = {row["work_id"] for row in rows}
    composers = {str(row["composer"]).strip() for row in rows} - {""}
    figures = [f"{len(rows):,}", f"{len(works):,}", f"{len(composers):,}"]
    return [part, *figures, f"{seconds / 3600:,.1f}"]


def _columns(schema: pa.Schema) -> str:
    rows = [
        (f"`{field.name}`", value_type(field), said(field, "unit"), said(field, "meaning"))
        for field in schema
    ]
    return _table(("column", "type", "unit", "meaning"), rows)


def said(field: "pa.Field[Any]", what: str) -> str:
    """The unit or the meaning of a column."""
    return (field.metadata or {})[what.encode()].decode()


def value_type(field: "pa.Field[Any]") -> str:
    """The type of a column in words."""
    if field.name == "audio":
        return "audio"
    kind = f"list of {field.type.value_type}" if isinstance(field.type, pa.ListType) else field.type
    return f"{kind}, may be null" if field.nullable else str(kind)


def licences(contents: Contents) -> list[str]:
    """The rights in the rows, the most frequent first; of facts the one that they are under."""
    if contents.form == "ids":
        return [FACTS_RIGHTS]
    found = rights_of(contents.rows, ("text_rights", "audio_rights"))
    return [name for name, _ in found.most_common(RIGHTS_LISTED)]


def _licence(contents: Contents) -> str:
    """The name at Hugging Face of the licence that all rows are under, or other."""
    found = licences(contents)
    return LICENCES.get(found[0], ("other", ""))[0] if len(found) == 1 else "other"


def _rights(contents: Contents) -> str:
    if contents.form == "ids":
        return f"Facts belong to nobody; what else may be claimed is given free: [CC0 1.0]({FREE})."
    counted = [
        (f"`{column}`", _cell(name), f"{count:,}")
        for column in ("text_rights", "audio_rights")
        for name, count in rights_of(contents.rows, [column]).most_common(RIGHTS_LISTED)
    ]
    return _table(("column", "rights", "pairs"), counted)


def _cell(text: str) -> str:
    """A text from a page, as one harmless cell of a table."""
    return html.escape(" ".join(text.split())[:200]).replace("|", "&#124;").replace("`", "&#96;")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
