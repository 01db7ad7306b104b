"""Rows whose clip or state is at fault, sent back to pending for the next fetch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.ledger import Ledger, State
from crawler.summary import Progress, Summary, silent
from dataset.findings import OF_A_CLIP, OF_A_STATE, Finding
from dataset.index import PAIRS_NAME, read_table, reading, write_columns
from dataset.rows import CLIP_COLUMNS
from dataset.rows import check as refuse_damaged
from dataset.validate import STAGES, Validation, check, is_sound

OF_THE_CLIP = (*CLIP_COLUMNS, "audio", "duplicate_of")  # columns that are null without one
Back = Mapping[str, Finding]  # pair_id -> why the pair is sent back


def repair(data: Path, progress: Progress = silent) -> Summary:
    """Check a data folder, and send the rows whose clip or state is at fault back to pending.

    Their clips are cut again by the next `fetch`, of the source that is kept or else fetched; a
    row that is only out of step with the ledger is written anew from it. details["missing"] and
    details["wrong"] list what another command mends. UserError when there is no index that can be
    read, LockedError when another run works on the folder. A second run finds nothing to do.
    """
    index = data / PAIRS_NAME
    with reading(index):
        pass  # else no ledger is made
    with Ledger(data) as ledger:
        found = check(data, progress)
        columns = ["pair_id", "status", "stage", "error_class", "error_message", "filter_reason"]
        table = read_table(index, [*columns, *OF_THE_CLIP])
        back = sent_back(found, table)
        deleted = distrust(data, ledger, found, back)
        if back:
            write_columns(index, pending(table, back))
    return summary_of(data, found, table, back, deleted)


def sent_back(found: Validation, table: Any) -> dict[str, Finding]:
    """The pairs to send back, each with the first thing that is wrong with it.

    A pair that the pair stage filtered, or may have, is left to that stage.
    """
    asked: dict[str, Finding] = {}
    for one in found.violations:
        concerned = found.clips.get(one.item, ()) if one.kind in OF_A_CLIP else ()
        for key in (one.item,) if one.kind in OF_A_STATE else concerned:
            asked.setdefault(key, one)
    states = table.select(["pair_id", "status", "stage", "filter_reason"]).to_pylist()
    return {
        row["pair_id"]: asked[row["pair_id"]]
        for row in states
        if row["pair_id"] in asked and not may_be_filtered(row)
    }


def may_be_filtered(row: Mapping[str, Any]) -> bool:
    """Whether the pair stage may have filtered a row: pending, it would be fetched."""
    filtered = row["status"] == State.FILTERED or row["filter_reason"] is not None
    return filtered and row["stage"] not in ("source", "cut")


def distrust(data: Path, ledger: Ledger, found: Validation, back: Back) -> list[str]:
    """Send clips back of which the ledger's word is not true, and delete their files.

    Deleted, a file cannot be adopted; the ledger is told first, so a kill in between only leaves
    a file that is overwritten. Returns the names of the files.
    """
    names = {name: back[keys[0]] for name, keys in found.clips.items() if keys[0] in back}
    items = [item for item, brief in ledger.briefs("cut").items() if brief.file in names]
    lost: set[str] = set()
    with ledger.together():
        for entry in list(ledger.some("cut", items)):
            refuse_damaged(entry, ledger)
            if entry.state is State.OK and not is_sound(data, entry.result):
                name = entry.result["file"]
                message = told(names[name])
                ledger.record(
                    "cut", entry.item, State.PENDING, message=message, result=entry.result
                )
                lost.add(name)
    files = sorted(name for name in lost if is_own(name) and (data / name).is_file())
    for name in files:
        (data / name).unlink()
    return files


def is_own(name: str) -> bool:
    """Whether a path is one that a clip gets."""
    parts = PurePosixPath(name).parts
    return len(parts) == 3 and parts[0] == "clips" and ".." not in parts


def told(why: Finding) -> str:
    """The reason that ledger and index keep, without what is to be done about it."""
    return f"sent back: {why.kind}: {why.message.rsplit(': run `', 1)[0]}"


def pending(table: Any, back: Back) -> Any:
    """The state columns of an index, in which the rows of `back` are pending without a clip."""
    keys = table["pair_id"].to_pylist()
    sent = pc.is_in(table["pair_id"], pa.array(back, pa.string()))
    nowhere = pc.and_(sent, pc.invert(pc.is_in(table["stage"], pa.array(STAGES))))
    reasons = pa.array([told(back[key]) if key in back else None for key in keys], pa.string())
    nothing = pa.scalar(None, pa.string())
    kept = pa.array([None if key in back else place for place, key in enumerate(keys)], pa.int64())
    columns = {
        "status": pc.if_else(sent, pa.scalar(State.PENDING.value), table["status"]),
        "stage": pc.if_else(nowhere, pa.scalar("cut"), table["stage"]),
        "error_class": pc.if_else(sent, nothing, table["error_class"]),
        "error_message": pc.if_else(sent, reasons, table["error_message"]),
        "filter_reason": pc.if_else(sent, nothing, table["filter_reason"]),
    }
    return pa.table(columns | {name: table[name].take(kept) for name in OF_THE_CLIP})


def summary_of(
    data: Path, found: Validation, table: Any, back: Back, deleted: Sequence[str]
) -> Summary:
    """What was sent back by its reason, and what is left for other commands."""
    left = [one for one in found.violations if not is_mended(one, found, back)]
    keys = [key for key in table["pair_id"].to_pylist() if key in back]
    sent = Counter(f"sent back: {back[key].kind}" for key in keys)
    return Summary(
        stage="repair",
        total=len(table),
        counts={"as they were": len(table) - len(keys), **dict(sorted(sent.items()))},
        artifact=data / PAIRS_NAME,
        details={
            "clips deleted": len(deleted),
            **found.lists(left),
            **({"next": "earscribe fetch"} if back else {}),
        },
        work_done=len(keys),
    )


def is_mended(one: Finding, found: Validation, back: Back) -> bool:
    """Whether all rows that a finding speaks of are sent back."""
    keys = found.clips.get(one.item, ()) if one.kind in OF_A_CLIP else (one.item,)
    return one.kind in OF_A_CLIP | OF_A_STATE and all(key in back for key in keys)
