"""Settings refuse contradictions when they are made and say what is allowed."""

import math
from collections.abc import Callable

import pytest

from crawler.errors import UserError
from model.config import (
    PRESETS,
    FeatureConfig,
    GenerateConfig,
    LossConfig,
    ModelConfig,
    TrainConfig,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureConfig(n_fft=0), r"features\.n_fft 0"),
        (lambda: FeatureConfig(n_fft=64, hop_length=65), r"features\.hop_length 65"),
        (
            lambda: FeatureConfig(n_fft=64, hop_length=32, n_mels=34),
            r"features\.n_mels 34 .*1\.\.33",
        ),
        (lambda: FeatureConfig(n_mels=0), r"features\.n_mels 0"),
        (lambda: ModelConfig(channels=(8, 8)), r"have 2, 8 and 8 values"),
        (lambda: ModelConfig(num_heads=7), r"768 is no multiple of model\.num_heads 7"),
        (lambda: ModelConfig(query_heads=5), r"768 is no multiple of model\.query_heads 5"),
        (
            lambda: LossConfig(topology_form="batch", divergence="pearson"),
            r"'pearson' does not go with topology_form 'batch': give mse or kl",
        ),
        (lambda: LossConfig(momentum=1.0), r"loss\.momentum 1\.0"),
        (lambda: LossConfig(group_size=1), r"loss\.group_size 1"),
        (lambda: LossConfig(token_noise=1.0), r"loss\.token_noise 1\.0"),
        (lambda: TrainConfig(steps=0), r"train\.steps 0"),
        (lambda: TrainConfig(crop_s=0.0), r"train\.crop_s 0\.0"),
        (lambda: FeatureConfig(sample_rate=0), r"features\.sample_rate 0 .* 1 or above"),
        (lambda: FeatureConfig(n_fft=1, hop_length=1), r"features\.n_fft 1 "),
        (lambda: ModelConfig(strides_time=(2, 2, 2, 0, 2, 1, 2, 1)), r"model\.strides_time 0"),
        (lambda: ModelConfig(channels=(), strides_time=(), strides_frequency=()), "is empty"),
        (lambda: ModelConfig(d_model=0), r"model\.d_model 0"),
        (lambda: ModelConfig(num_heads=0), r"model\.num_heads 0"),
        (lambda: ModelConfig(text_layers=0), r"model\.text_layers 0"),
        (lambda: ModelConfig(max_tokens=2), r"model\.max_tokens 2 .* 3 or above"),
        (lambda: ModelConfig(dropout=1.0), r"model\.dropout 1\.0 .* in 0\.\.1"),
        (lambda: ModelConfig(dropout=-0.1), r"model\.dropout -0\.1"),
        (lambda: LossConfig(caption=-1.0), r"loss\.caption -1\.0"),
        (lambda: LossConfig(alignment=math.nan), r"loss\.alignment nan"),
        (lambda: LossConfig(tau=0.0), r"loss\.tau 0\.0"),
        (lambda: LossConfig(tau=math.inf), r"loss\.tau inf"),
        (
            lambda: LossConfig(
                caption=0, text_reconstruction=0, music_reconstruction=0, topology=0
            ),
            r"loss\.caption, .* are all 0",
        ),
        (lambda: TrainConfig(learning_rate=0.0), r"train\.learning_rate 0\.0"),
        (lambda: TrainConfig(learning_rate=math.inf), r"train\.learning_rate inf"),
        (lambda: TrainConfig(threads=-1), r"train\.threads -1"),
        (lambda: TrainConfig(warmup_steps=-1), r"train\.warmup_steps -1"),
        (lambda: TrainConfig(weight_decay=-0.1), r"train\.weight_decay -0\.1"),
        (lambda: TrainConfig(clip_norm=0.0), r"train\.clip_norm 0\.0"),
        (lambda: TrainConfig(seed=-1), r"train\.seed -1"),
        (lambda: TrainConfig(crop_s=0.03), r"train\.crop_s 0\.03"),
        (lambda: TrainConfig(crop_s=math.nan), r"train\.crop_s nan"),
        (lambda: GenerateConfig(seed=-1), r"generate\.seed -1"),
        (lambda: GenerateConfig(temperature=math.nan), r"generate\.temperature nan"),
        (lambda: GenerateConfig(num_beams=0), r"generate\.num_beams 0"),
        (lambda: GenerateConfig(top_p=1.5), r"generate\.top_p 1\.5"),
        (lambda: GenerateConfig(temperature=0.0), r"generate\.temperature 0\.0"),
        (lambda: GenerateConfig(max_tokens=1), r"generate\.max_tokens 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_the_paper_preset_keeps_the_published_numbers() -> None:
    paper = PRESETS["paper"]
    assert paper.features.num_bins == 256
    assert paper.features.sample_rate / paper.features.hop_length == pytest.approx(62.75, abs=0.01)
    time = 1
    for stride in paper.model.strides_time:
        time *= stride
    assert time * paper.features.hop_length / paper.features.sample_rate == pytest.approx(1.02)
    loss = paper.loss
    assert (loss.group_size, loss.tau, loss.momentum, loss.topology) == (32, 32.0, 0.999, 500.0)
    assert not loss.released_behaviour


@pytest.mark.parametrize("name", PRESETS)
def test_a_crop_of_every_preset_fits_its_network(name: str) -> None:
    preset = PRESETS[name]
    assert preset.preset == name
    frames = preset.crop_s * preset.features.sample_rate / preset.features.hop_length
    for stride in preset.model.strides_time:
        frames /= stride
    assert preset.model.num_codes <= frames <= preset.model.max_steps
