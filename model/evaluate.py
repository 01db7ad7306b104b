"""The stage that scores a run: captions of a split part beside their controls.

    runs/<run>/scores.json      scores with signatures, controls, audio swap, what was scored
    runs/<run>/captions.jsonl   clip_id, hypothesis, references

Another part than the test split goes to scores-<part>.json and captions-<part>.jsonl.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crawler.errors import UserError
from crawler.files import write_atomic
from crawler.ledger import folder_lock
from crawler.summary import Progress, Summary, silent
from dataset.decoding import AudioError, load_segment
from dataset.pairs import Pair, stable_id
from dataset.parts import load_split, read_split
from model.config import GenerateConfig
from model.controls import (
    audio_swap,
    most_frequent_text,
    random_training_texts,
    same_movement_texts,
)
from model.runs import (
    Checkpoint,
    Which,
    find_checkpoint,
    read_config,
    read_run_split,
    refuse_no_run,
)

if TYPE_CHECKING:  # torch and the scorers are imported where they work: a second time none does
    from model.generate import TrainedCaptioner

logger = logging.getLogger(__name__)

SCORES_VERSION = 1
DRAWS = 10  # of each random control; their mean is reported
CLIPS_AT_A_TIME = 16
TABLE = ("bleu1", "bleu4", "chrf", "rouge_l", "distinct2", "mean_words", "copy_rate", "novelty")

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClip:
    """One clip of the part: all its texts are references of the one caption it gets."""

    clip_id: str
    path: Path
    movements: tuple[int, ...]
    references: tuple[str, ...]


def evaluate(
    data: Path,
    run: Path,
    *,
    part: Part = "test",
    checkpoint: Which = "best",
    generate: GenerateConfig | None = None,
    progress: Progress = silent,
) -> Summary:
    """Caption the clips of a split part and score them; a second time nothing is done.

    UserError when the run, the split or every clip is missing, and when the run learned from
    another training part than the split's, for then it may know the clips. A clip that cannot be
    read is counted and listed, and no score counts it.
    """
    generate = generate or GenerateConfig()
    refuse_no_run(run)
    with folder_lock(run, "--run"):
        found = find_checkpoint(run, checkpoint)
        split = read_config(found.verified("config.json")).split
        training = load_split(data, split, "train")
        pairs = load_split(data, split, part)
        refuse_known(data, run, split, part, pairs, training)
        clips = clips_of(data, pairs)
        about = evaluated(data, split, found, part, generate)
        kept = kept_summary(run, part, len(clips), about)
        if kept is not None:
            return kept
        from model.generate import captioner_of

        captioner = captioner_of(found)
        heard, hypotheses, failed = caption_clips(captioner, clips, generate, progress)
        if not heard:
            first = next(iter(failed.values()))
            raise UserError(
                f"none of the {len(clips)} clips of part {part} could be read, the first because: "
                f"{first}"
            )
        report = {**about, "failed": failed, **score_report(heard, hypotheses, training)}
        write_captions(run / file_name("captions", part, "jsonl"), heard, hypotheses)
        body = json.dumps(report, ensure_ascii=False, indent=1)
        write_atomic(run / file_name("scores", part, "json"), body.encode())
        return summary(run, part, len(clips), report, work_done=len(heard))


def refuse_known(
    data: Path,
    run: Path,
    split: str,
    part: Part,
    pairs: Sequence[Pair],
    training: Sequence[Pair],
) -> None:
    """UserError when the clips are none, or the run was, or may have been, trained on them."""
    if not pairs:
        raise UserError(f"part {part} of split {split!r} is empty: make the split anew")
    learned = read_run_split(run).get("train_sha256")
    if learned != read_split(data, split)["parts"]["train"]["sha256"]:
        raise UserError(
            f"run {run} was trained on another content of split {split!r} than is in {data}, so "
            "that it may know these clips: give its own --data or train anew with another --run"
        )
    known = {pair.clip_id for pair in pairs} & {pair.clip_id for pair in training}
    if known and part != "train":
        raise UserError(
            f"{len(known)} clips of part {part}, for example {min(map(str, known))}, are in the "
            f"training part of split {split!r} too: make the split anew"
        )


def clips_of(data: Path, pairs: Sequence[Pair]) -> list[ScoredClip]:
    """The clips of some pairs by clip_id, each with all its texts."""
    texts: dict[str, list[Pair]] = {}
    for pair in pairs:
        assert pair.clip_id is not None, "a split holds only pairs with a clip"
        texts.setdefault(pair.clip_id, []).append(pair)
    return [
        ScoredClip(
            clip_id=clip_id,
            path=data / (group[0].audio or {})["path"],
            movements=group[0].movements,
            references=tuple(dict.fromkeys(pair.caption for pair in group)),
        )
        for clip_id, group in sorted(texts.items())
    ]


def evaluated(
    data: Path, split: str, checkpoint: Checkpoint, part: Part, generate: GenerateConfig
) -> dict[str, Any]:
    """What is scored and how, and its fingerprint: equal fingerprints, equal scores."""
    parts = read_split(data, split)["parts"]
    about = {
        "earscribe_scores": SCORES_VERSION,
        "part": part,
        "checkpoint": {
            "step": checkpoint.step,
            "weights_sha256": checkpoint.files["model.safetensors"],
        },
        "split": {
            "name": split,
            "part_sha256": parts[part]["sha256"],
            "train_sha256": parts["train"]["sha256"],
        },
        "generate": dataclasses.asdict(generate),
    }
    return {**about, "fingerprint": stable_id(about)}


def kept_summary(run: Path, part: Part, num_clips: int, about: dict[str, Any]) -> Summary | None:
    """That of the very same evaluation if it is there, whole, and no clip failed."""
    try:
        kept = json.loads((run / file_name("scores", part, "json")).read_text(encoding="utf-8"))
        same = kept["fingerprint"] == about["fingerprint"] and not kept["failed"]
        made = summary(run, part, num_clips, kept, work_done=0)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or damaged
        return None
    captions = run / file_name("captions", part, "jsonl")
    return made if same and captions.is_file() else None


def caption_clips(
    captioner: "TrainedCaptioner",
    clips: Sequence[ScoredClip],
    generate: GenerateConfig,
    progress: Progress,
) -> tuple[list[ScoredClip], list[str], dict[str, str]]:
    """Clips that could be read, their captions, and the reason of each that could not by id."""
    from model.generate import generate_captions

    heard: list[ScoredClip] = []
    hypotheses: list[str] = []
    failed: dict[str, str] = {}
    sample_rate = captioner.config.features.sample_rate
    for first in range(0, len(clips), CLIPS_AT_A_TIME):
        waveforms: list[np.ndarray] = []
        for clip in clips[first : first + CLIPS_AT_A_TIME]:
            try:
                waveforms.append(load_segment(clip.path, sample_rate=sample_rate))
                heard.append(clip)
            except (AudioError, UserError) as error:  # no audio, no file
                failed[clip.clip_id] = str(error)
                logger.warning("clip %s cannot be read: %s", clip.path, error)
        if waveforms:
            hypotheses += generate_captions(captioner, waveforms, generate)
        progress(min(first + CLIPS_AT_A_TIME, len(clips)), len(clips))
    return heard, hypotheses, failed


def score_report(
    clips: Sequence[ScoredClip], hypotheses: Sequence[str], pairs: Sequence[Pair]
) -> dict[str, Any]:
    """Scores of the captioner and of every control, and how each score is computed."""
    from model.metrics import mean_values, score_captions, values

    references = [clip.references for clip in clips]
    training = [pair.caption for pair in pairs]
    captioner = score_captions(hypotheses, references, training)

    def mean_of(draws: Sequence[Sequence[str]]) -> dict[str, float]:
        return mean_values([values(score_captions(d, references, training)) for d in draws])

    size, seeds = len(clips), range(DRAWS)
    rows = {
        "captioner": values(captioner),
        "random training text": mean_of([random_training_texts(pairs, size, s) for s in seeds]),
        "most frequent text": mean_of([most_frequent_text(pairs, size)]),
        "same movement number": mean_of(
            [same_movement_texts(pairs, [c.movements for c in clips], s) for s in seeds]
        ),
    }
    drop = None
    if size > 1:  # one clip alone has no other's audio to be given
        # A caption depends on its audio alone (see `generate_captions`), whatever the method:
        # swapping the audio swaps the captions.
        swaps = [[hypotheses[other] for other in audio_swap(size, s)] for s in seeds]
        rows["audio swapped"] = mean_of(swaps)
        drop = {k: rows["captioner"][k] - rows["audio swapped"][k] for k in rows["captioner"]}
    return {
        "clips": size,
        "references": sum(map(len, references)),
        "scores": rows,
        "audio_swap_drop": drop,
        "implementations": {
            name: {"unit": score.unit, "implementation": score.implementation}
            for name, score in captioner.items()
        },
    }


def write_captions(path: Path, clips: Sequence[ScoredClip], hypotheses: Sequence[str]) -> None:
    """One JSON object a line for each clip."""
    lines = [
        json.dumps(
            {"clip_id": clip.clip_id, "hypothesis": text, "references": clip.references},
            ensure_ascii=False,
        )
        for clip, text in zip(clips, hypotheses, strict=True)
    ]
    write_atomic(path, "".join(line + "\n" for line in lines).encode())


def file_name(stem: str, part: Part, suffix: str) -> str:
    """The plain name is the test part's."""
    return f"{stem}.{suffix}" if part == "test" else f"{stem}-{part}.{suffix}"


def summary(
    run: Path, part: Part, num_clips: int, report: dict[str, Any], *, work_done: int
) -> Summary:
    """Counts by clip; in the details a table, one row a score, one column a source of captions."""
    failed = len(report["failed"])
    table = [
        {"score": key, **{name: round(row[key], 3) for name, row in report["scores"].items()}}
        for key in TABLE
    ]
    return Summary(
        stage="evaluate",
        total=num_clips,
        counts={"ok": num_clips - failed, **({"failed: unreadable": failed} if failed else {})},
        artifact=run / file_name("scores", part, "json"),
        details={"scores on " + part: table, "checkpoint_step": report["checkpoint"]["step"]},
        work_done=work_done,
    )
