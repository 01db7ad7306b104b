"""The folder of a run: its settings, and which checkpoints it holds; needs no torch.

config.json, split.json   what the run was begun with: another setting or split is refused
checkpoints/step-XXXXXX/  the newest two and the best by validation loss
"""

import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from crawler.errors import SchemaVersionError, UserError
from crawler.files import TEMPORARY_PREFIX, sha256_file, write_atomic
from crawler.options import layered
from crawler.summary import Summary
from dataset.parts import read_split
from model.config import TrainConfig

logger = logging.getLogger(__name__)

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FREE_SETTINGS = ("threads",)  # may change when a run goes on
CHECKPOINT_VERSION = 1
NAME = re.compile(r"step-\d{6,}")
FILES = ("config.json", "tokenizer.json", "model.safetensors", "trainer.safetensors")
KEPT = 2  # the newest ones; the best is kept besides
PICKLED_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
PICKLED_HEADS = (b"\x80", b"PK")  # of a pickle, of torch's archive; safetensors are parsed

Which = Literal["best", "last"]


# ---- settings ----------------------------------------------------------------------------------


def run_folder(data: Path, name: str) -> Path:
    """The folder of a run; UserError for a name that is no plain folder name."""
    if not RUN_NAME.fullmatch(name):
        raise UserError(f"run name {name!r} is not allowed: give letters, digits, '.', '_', '-'")
    return data / "runs" / name


def split_hashes(data: Path, split: str) -> dict[str, str]:
    """What a run learns from and is chosen by; UserError when there is no such split or part."""
    record = read_split(data, split)
    folds, parts = record["definition"].get("folds"), record["parts"]
    mend = f"name a fold, {split}:0" if folds else "make a split with three fractions"
    for part in ("train", "validation"):
        if part not in parts:
            raise UserError(f"split {split!r} has no part {part!r}: {mend}")
        if not parts[part]["rows"]:
            raise UserError(
                f"part {part} of split {split!r} is empty: make a split with other fractions"
            )
    return {
        "name": split,
        "train_sha256": parts["train"]["sha256"],
        "validation_sha256": parts["validation"]["sha256"],
    }


def begin_run(folder: Path, config: TrainConfig, split: dict[str, str]) -> None:
    """Write config.json and split.json, or refuse what differs from those that are there."""
    refuse_another(folder, config, split)
    for name, content in (("config.json", config_to_json(config)), ("split.json", split)):
        if not (folder / name).is_file():
            write_atomic(folder / name, json.dumps(content, indent=1).encode())


def refuse_another(folder: Path, config: TrainConfig, split: dict[str, str]) -> None:
    """UserError when the run was begun with other settings or another content of its split."""
    settings = folder / "config.json"
    if not settings.is_file():
        last = last_whole(folder)
        settings = last.folder / "config.json" if last else settings
    if settings.is_file():
        refuse_changes(folder.name, flat(config_to_json(read_config(settings))), config)
    if (folder / "split.json").is_file() and read_run_split(folder) != split:
        raise UserError(
            f"run {folder.name} was begun with another content of split {split['name']}: give "
            "another name with --run"
        )


def read_run_split(folder: Path) -> dict[str, Any]:
    """split.json of a run; UserError when it is missing or damaged."""
    path = folder / "split.json"
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} does not say what the run was trained on ({error}): train anew with another "
            "--run"
        ) from error
    return begun if isinstance(begun, dict) else {}


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


def config_to_json(config: TrainConfig) -> dict[str, Any]:
    """The settings of a run as JSON values."""
    return dataclasses.asdict(config)


def read_config(path: Path) -> TrainConfig:
    """The settings of a run; UserError when the file is not JSON or holds what is not allowed."""
    try:
        saved = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} holds no settings: {error}") from error
    return layered(TrainConfig(), "train", toml={"train": saved}, environment={})


# ---- checkpoints -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What checkpoint.json says of its folder."""

    folder: Path
    step: int  # updates done
    validation_loss: float | None  # at this step; None when it was not validated
    best_loss: float | None  # lowest validation loss of the run so far
    files: Mapping[str, str]  # name -> sha256

    def verified(self, name: str) -> Path:
        """The path of one of its files; UserError when damaged, missing or pickled."""
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"checkpoint {self.folder} lacks {name}: give another or train again")
        refuse_pickle(path)
        if sha256_file(path) != self.files.get(name):
            raise UserError(f"{path} is damaged: remove the checkpoint {self.folder}")
        return path

    def verify(self) -> None:
        """Read all of its files; UserError when one is not as it was written."""
        for name in self.files:
            self.verified(name)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read checkpoint.json; UserError when it is damaged, a file is missing or one is pickled."""
    try:
        for path in sorted(folder.iterdir()):
            refuse_pickle(path)
        about = json.loads((folder / "checkpoint.json").read_text())
        version = about.pop("earscribe_checkpoint")
        if version != CHECKPOINT_VERSION:
            raise SchemaVersionError(
                f"{folder} has checkpoint version {version}, this program reads "
                f"{CHECKPOINT_VERSION}: train again"
            )
        checkpoint = Checkpoint(folder=folder, **about)
        refuse_damage(checkpoint)
        return checkpoint
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} is no whole checkpoint ({error}): remove it") from error


def refuse_damage(checkpoint: Checkpoint) -> None:
    """ValueError or OSError when checkpoint.json does not fit its folder; the files stay unread."""
    if checkpoint.folder.name != f"step-{checkpoint.step:06d}":
        raise ValueError(f"step {checkpoint.step} is not the folder's")
    for loss in (checkpoint.validation_loss, checkpoint.best_loss):
        if not isinstance(loss, float | int | None):
            raise ValueError(f"loss {loss!r}")
    for name in FILES:
        if name not in checkpoint.files:
            raise ValueError(f"no hash of {name}")
        (checkpoint.folder / name).stat()


def refuse_pickle(path: Path) -> None:
    """UserError for a file that could hold pickled code, or is named safetensors and is none.

    A safetensors file may begin with any byte (the length of its header), so it is parsed.
    """
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy"):
                return
        except SafetensorError as error:
            raise UserError(
                f"{path} is no safetensors file ({error}): it is damaged, or may hold pickled code"
            ) from error
    with path.open("rb") as body:
        pickled = path.suffix in PICKLED_SUFFIXES or body.read(2).startswith(PICKLED_HEADS)
    if pickled:
        raise UserError(f"{path} may hold pickled code: only safetensors and JSON are read")


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """The whole checkpoints of a run by step; [] without any. Others are skipped with a warning.

    What is in the files is not read: see `first_sound`. SchemaVersionError for another version.
    """
    found = []
    for path in folder.glob("step-*"):
        try:
            if NAME.fullmatch(path.name):
                found.append(read_checkpoint(path))
        except SchemaVersionError:
            raise
        except UserError as error:
            logger.warning("skipped: %s", error)
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def first_sound(checkpoints: Iterable[Checkpoint]) -> Checkpoint | None:
    """The first whose files are those that were written; the others give a warning."""
    for checkpoint in checkpoints:
        try:
            checkpoint.verify()
        except UserError as error:
            logger.warning("skipped: %s", error)
        else:
            return checkpoint
    return None


def last_whole(run: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that can be gone on from, None without any."""
    return first_sound(reversed(list_checkpoints(run / "checkpoints")))


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """The one of lowest validation loss, of equals the earliest; None when none was validated."""
    return next(iter(best_first(checkpoints)), None)


def best_first(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Those that were validated, by validation loss, of equals the earliest first."""
    validated = [one for one in checkpoints if one.validation_loss is not None]
    return sorted(validated, key=lambda one: (one.validation_loss, one.step))


def find_checkpoint(run: Path, which: Which) -> Checkpoint:
    """The best or last checkpoint of a run; UserError when there is no such run or checkpoint."""
    refuse_no_run(run)
    checkpoints = list_checkpoints(run / "checkpoints")
    candidates = best_first(checkpoints) if which == "best" else checkpoints[::-1]
    chosen = first_sound(candidates)
    if chosen:
        return chosen
    if which == "best" and first_sound(reversed(checkpoints)):
        raise UserError(
            f"run {run} has no whole checkpoint that was validated: train on or give "
            "--checkpoint last"
        )
    for newest in sorted((run / "checkpoints").glob("step-*"))[-1:]:
        read_checkpoint(newest).verify()  # says why not
    raise UserError(f"run {run} has no checkpoint yet: run `earscribe train` on")


def refuse_no_run(run: Path) -> None:
    """UserError that lists the runs there are when `run` is none."""
    if not run.is_dir():
        known = sorted(path.name for path in run.parent.glob("*/") if path.is_dir())
        runs = ", ".join(known) or "none"
        raise UserError(f"no run {run}: runs in {run.parent} are {runs}; see `earscribe train`")


def prune(folder: Path) -> None:
    """Remove all checkpoints but the newest and the best."""
    checkpoints = list_checkpoints(folder)
    kept = {one.step for one in checkpoints[-KEPT:]}
    best = best_of(checkpoints)
    for checkpoint in checkpoints:
        if checkpoint.step not in kept and checkpoint is not best:
            discard(checkpoint.folder)


def sweep_checkpoints(folder: Path) -> None:
    """Remove what a killed run left half written or half removed."""
    for orphan in folder.glob(TEMPORARY_PREFIX + "*"):
        shutil.rmtree(orphan)


def discard_after(folder: Path, step: int) -> None:
    """Remove the checkpoints after `step`, which is the newest sound one: the run redoes them."""
    for path in folder.glob("step-*"):
        if NAME.fullmatch(path.name) and int(path.name.removeprefix("step-")) > step:
            discard(path)


def discard(folder: Path) -> None:
    """Remove a checkpoint so that a kill on the way leaves no half of it under its name."""
    doomed = folder.with_name(TEMPORARY_PREFIX + folder.name)
    folder.replace(doomed)
    if doomed.is_dir():
        shutil.rmtree(doomed)
    else:  # a stray file under the name of a checkpoint
        doomed.unlink()


# ---- the end -----------------------------------------------------------------------------------


def finished(data: Path, config: TrainConfig, run: str | None = None) -> Summary | None:
    """The summary of a run that has all its updates, None for any other; costs no torch.

    UserError when the run was begun with other settings or another content of its split.
    """
    folder = run_folder(data, run or config.preset)
    last = last_whole(folder)
    if last is None:
        return None
    refuse_another(folder, config, split_hashes(data, config.split))
    if last.step < config.steps:
        return None
    checkpoints = list_checkpoints(folder / "checkpoints")
    return train_summary(folder, config, checkpoints, work_done=0)


def train_summary(
    folder: Path, config: TrainConfig, checkpoints: list[Checkpoint], work_done: int
) -> Summary:
    """Counts by update; the losses and the best checkpoint are in the details."""
    done = checkpoints[-1].step
    left = config.steps - done
    best = best_of(checkpoints)
    return Summary(
        stage="train",
        total=config.steps,
        counts={"ok": done, **({"pending": left} if left else {})},
        artifact=folder,
        details={
            "best_step": best.step if best else None,
            "best_validation_loss": best.validation_loss if best else None,
        },
        work_done=work_done,
        incomplete=left > 0,
    )
