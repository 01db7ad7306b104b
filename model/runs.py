"""The folder of a run: the settings it was begun with, and its log.

config.json, split.json   another setting or another content of the split is refused
log.jsonl                 losses by step, without times: the same run, the same bytes
tensorboard/              the same figures as TensorBoard scalars
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from crawler.errors import UserError
from crawler.files import sha256_file, write_atomic
from dataset.splits import SPLITS_NAME
from model.checkpoint import config_to_json, read_config
from model.config import TrainConfig

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FREE_SETTINGS = ("threads",)  # may change when a run goes on


def run_folder(data: Path, name: str) -> Path:
    """The folder of a run; UserError for a name that is no plain folder name."""
    if not RUN_NAME.fullmatch(name):
        raise UserError(f"run name {name!r} is not allowed: give letters, digits, '.', '_', '-'")
    return data / "runs" / name


def split_hashes(data: Path, split: str) -> dict[str, str]:
    """What the run learns from and is chosen by."""
    folder = data / SPLITS_NAME / split
    return {
        "name": split,
        "train_sha256": sha256_file(folder / "train.parquet"),
        "validation_sha256": sha256_file(folder / "validation.parquet"),
    }


def begin_run(folder: Path, config: TrainConfig, split: dict[str, str]) -> None:
    """Write config.json and split.json, or refuse what differs from those that are there."""
    settings, kept_split = folder / "config.json", folder / "split.json"
    if settings.is_file():
        refuse_changes(folder.name, flat(config_to_json(read_config(settings))), config)
    if kept_split.is_file() and json.loads(kept_split.read_text()) != split:
        raise UserError(
            f"run {folder.name} was begun with another content of split {split['name']}: give "
            "another name with --run"
        )
    if not settings.is_file():
        write_atomic(settings, json.dumps(config_to_json(config), indent=1).encode())
    if not kept_split.is_file():
        write_atomic(kept_split, json.dumps(split, indent=1).encode())


def refuse_changes(run: str, begun: Mapping[str, Any], config: TrainConfig) -> None:
    """UserError that names the first setting that is not as the run was begun."""
    for key, value in flat(config_to_json(config)).items():
        if key not in FREE_SETTINGS and begun[key] != value:
            raise UserError(
                f"run {run} was begun with train.{key} {begun[key]}, not {value}: give the same "
                "again or another name with --run"
            )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return found


class RunLog:
    """log.jsonl and TensorBoard, from the updates after `first_step` on."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._board.close()
        self._lines.close()

    def write(self, step: int, **figures: float) -> None:
        """One line and one point a figure."""
        self._lines.write(json.dumps({"step": step, **figures}) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Bring the log to the disk: a checkpoint must not be ahead of it."""
        os.fsync(self._lines.fileno())


def truncate_log(path: Path, last_step: int) -> None:
    """Drop the lines after `last_step`, which the run writes again, and a half written one."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for line in whole if json.loads(line)["step"] <= last_step]
    write_atomic(path, "".join(kept).encode())
