"""Settings of a captioner that trains in a second, and a run as it looks from outside."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from crawler.files import sha256_file
from model.config import FeatureConfig, LossConfig, ModelConfig, TrainConfig
from model.runs import CHECKPOINT_VERSION, FILES

SMALL = TrainConfig(
    preset="small",
    steps=6,
    batch_size=4,
    crop_s=0.5,
    learning_rate=3e-3,
    warmup_steps=2,
    checkpoint_every=2,
    validate_every=3,
    log_every=1,
    threads=1,
    features=FeatureConfig(n_fft=256, hop_length=256, n_mels=16, log=True),
    model=ModelConfig(
        channels=(4, 8),
        strides_frequency=(4, 4),
        strides_time=(4, 4),
        d_model=16,
        num_heads=2,
        query_heads=2,
        d_feedforward=16,
        music_layers=1,
        text_layers=1,
        num_codes=2,
        max_tokens=48,
        vocab_size=400,
    ),
    loss=LossConfig(topology=5.0, group_size=3, alignment=0.1),
)


def hollow_checkpoint(run: Path, step: int) -> None:
    """A checkpoint that is whole by its hashes, though no network can be read from it."""
    folder = run / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    for name in FILES:
        if name.endswith(".safetensors"):
            save_file({"nothing": np.zeros(1)}, folder / name)
        else:
            (folder / name).write_text("{}")
    about = {
        "earscribe_checkpoint": CHECKPOINT_VERSION,
        "step": step,
        "validation_loss": None,
        "best_loss": None,
        "files": {name: sha256_file(folder / name) for name in FILES},
    }
    (folder / "checkpoint.json").write_text(json.dumps(about))
