"""How far every stage of a data folder has come, read from what it left there."""

from collections.abc import Iterator
from pathlib import Path

from crawler.ledger import Ledger
from dataset.index import PAIRS_NAME, load_pairs
from dataset.pairing import count_states
from dataset.splits import read_split
from model.runs import list_checkpoints, read_config


def stages_so_far(data: Path) -> Iterator[tuple[str, str, str | None, int]]:
    """Stage, state, class or reason, and number of what there is, stage by stage."""
    with Ledger(data, read_only=True) as ledger:
        yield from ledger.counts()
    if (data / PAIRS_NAME).is_file():
        for state, number in count_states(load_pairs(data / PAIRS_NAME)).items():
            status, _, why = state.partition(": ")
            yield "index", status, why or None, number
    for record in sorted(data.glob("splits/*/split.json")):
        name = record.parent.name
        for part, described in read_split(data, name)["parts"].items():
            yield "split", "ok", f"{name}/{part}", described["rows"]
    for stage, pattern in (("report", "report.html"), ("export", "*/README.md")):
        for made in sorted(data.glob(pattern)):
            yield stage, "ok", str(made.relative_to(data)), 1
    for settings in sorted(data.glob("runs/*/config.json")):
        run, steps = settings.parent, read_config(settings).steps
        done = max((one.step for one in list_checkpoints(run / "checkpoints")), default=0)
        yield "train", "ok" if done >= steps else "pending", f"{run.name}, of {steps} steps", done
    for scores in sorted(data.glob("runs/*/scores.json")):
        yield "evaluate", "ok", scores.parent.name, 1
