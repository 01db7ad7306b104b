"""The stage: a corpus for others to load, whole and with its papers, here or at any address."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from crawler.errors import UserError
from crawler.summary import Progress, Summary, silent
from dataset.card import CARD_NAME, CROISSANT_NAME, MARK, SUMS_NAME, card, sums, unfinished
from dataset.contents import Contents
from dataset.croissant import croissant
from dataset.hf import hf_contents
from dataset.ids import ids_contents
from dataset.places import File, Folder, open_folder
from dataset.plainfiles import files_contents

PAPERS = (SUMS_NAME, CROISSANT_NAME, CARD_NAME)  # in the order of writing


def export_hf(
    data: Path,
    target: Path | str,
    *,
    split: str = "default",
    local: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Write a split with its clips so that `datasets.load_dataset(target)` reads it.

    Rows that may not be passed on are refused unless `local`. UserError also for a folder that
    is not an export's, for a clip missing or altered, for an address that cannot be used.
    """
    return _export(hf_contents(data, split, local), target, progress)


def export_files(
    data: Path,
    target: Path | str,
    *,
    split: str = "default",
    local: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Write a split as plain files, clips beside tables; errors as in `export_hf`."""
    return _export(files_contents(data, split, local), target, progress)


def export_ids_folder(data: Path, target: Path | str, progress: Progress = silent) -> Summary:
    """Write the facts of the index beside a card; errors as in `export_hf`."""
    return _export(ids_contents(data), target, progress)


def _export(contents: Contents, target: Path | str, progress: Progress) -> Summary:
    """Write what the folder has not yet; the card comes last, and what is whole is left alone.

    A local folder keeps its old files until all new ones are written. Other files beside an
    export stay, but none may lie among its data.
    """
    folder = open_folder(target)
    with folder.held():
        held = folder.listing()
        old = _refuse_foreign(folder, contents, held, target)
        done = _is_up_to_date(folder, contents, held)
        if not done:
            _write(folder, contents, old, progress)
    bound = {"pairs not to be passed on": contents.bound} if contents.in_parts else {}
    return Summary(
        stage="export",
        total=sum(contents.counts.values()),
        counts=contents.counts,
        artifact=target,
        details={**contents.details, **bound},
        work_done=0 if done else len(contents.rows),
    )


def _refuse_foreign(
    folder: Folder, contents: Contents, held: Mapping[str, int], target: Path | str
) -> set[str]:
    """The files of an earlier export; UserError when other files would be among or under ours.

    Beside a card of ours any other file may lie, but none where the data go.
    """
    body = folder.read(CARD_NAME) if CARD_NAME in held else None
    ours = body is not None and MARK in body
    old = _names(folder, body or b"") & set(held) if ours else set()
    tops = {name.partition("/")[0] for name in contents.files}
    beside = set(held) - old
    if ours:
        beside = {name for name in beside.difference(PAPERS) if name.partition("/")[0] in tops}
    if beside:
        raise UserError(
            f"{target} holds other files, such as {min(beside)}: give a folder that is new or empty"
        )
    return old


def _names(folder: Folder, card_body: bytes) -> set[str]:
    """The files that the sums name, or the card of an export that was broken off."""
    lines = card_body.decode("utf-8", "replace").split("\n")
    return _sums(folder).keys() | {line[2:] for line in lines if line.startswith("- ")}


def _sums(folder: Folder) -> dict[str, str]:
    """File name -> sum, as the folder tells; {} when it tells none."""
    lines = (folder.read(SUMS_NAME) or b"").decode("utf-8", "replace").splitlines()
    pairs = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs if name}


def _is_up_to_date(folder: Folder, contents: Contents, held: Mapping[str, int]) -> bool:
    """Whether the very files are there, and the papers that would be written beside them."""
    written = _sums(folder)
    if written.keys() != contents.files.keys() or not written.keys() <= held.keys():
        return False
    files = {name: File(digest, held[name]) for name, digest in written.items()}
    papers = _papers(contents, files, _date_of(folder))
    return all(folder.read(name) == papers[name] for name in PAPERS) and folder.agrees(written)


def _date_of(folder: Folder) -> str:
    """The date that an export bears; today when there is none."""
    try:
        return str(json.loads(folder.read(CROISSANT_NAME) or b"{}")["datePublished"])
    except (ValueError, KeyError, TypeError):
        return today()


def today() -> str:
    """The date in UTC as YYYY-MM-DD; SOURCE_DATE_EPOCH, in seconds, gives another.

    UserError when that is no number of seconds.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.fromtimestamp(int(seconds), UTC) if seconds else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(
            f"SOURCE_DATE_EPOCH {seconds!r} is no time: give seconds since 1970"
        ) from error
    return now.date().isoformat()


def _write(folder: Folder, contents: Contents, old: set[str], progress: Progress) -> None:
    """Write the data, then the papers; until the card is there, one says that it is unfinished."""
    names = sorted(old | contents.files.keys())
    begin = partial(folder.write, CARD_NAME, unfinished(names))
    files: dict[str, File] = {}
    with folder.batch(names, begin) as put:
        for name, write in contents.files.items():
            files[name] = put(name, write)
            progress(len(files), len(contents.files))
    for name in old - contents.files.keys():
        folder.remove(name)
    papers = _papers(contents, files, today())
    for name in PAPERS:
        folder.write(name, papers[name])


def _papers(contents: Contents, files: Mapping[str, File], date: str) -> dict[str, bytes]:
    texts = (sums(files), croissant(contents, files, date), card(contents))
    return {name: text.encode() for name, text in zip(PAPERS, texts, strict=True)}
