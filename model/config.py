"""The settings of features, network, losses, training and generation, and the presets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from crawler.errors import UserError

ABOVE_0 = math.ulp(0.0)  # the least number above 0
BELOW_1 = math.nextafter(1.0, 0.0)


def require(condition: bool, message: str) -> None:
    """UserError with `message` (what was given, what is allowed) unless `condition`."""
    if not condition:
        raise UserError(message)


def require_within(
    section: str, config: object, bounds: Mapping[str, tuple[float, float | None]]
) -> None:
    """UserError for the first field that is not in low..high (None: no end); a tuple's every value.

    What is not finite is in no range.
    """
    for name, (low, high) in bounds.items():
        given = getattr(config, name)
        for value in given if isinstance(given, tuple) else (given,):
            allowed = f"{low:g} or above" if high is None else f"in {low:g}..{high:g}"
            require(
                math.isfinite(value) and low <= value and (high is None or value <= high),
                f"{section}.{name} {value} is not allowed: give a number {allowed}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """Waveform -> spectrogram."""

    sample_rate: int = 16_000  # Hz
    n_fft: int = 510  # 256 bins
    hop_length: int = 255  # 62.75 frames a second
    n_mels: int | None = None  # None = linear frequency
    log: bool = False  # log(1 + power) instead of power

    def __post_init__(self) -> None:
        require_within(
            "features",
            self,
            {"sample_rate": (1, None), "n_fft": (2, None), "hop_length": (1, None)},
        )
        require(
            self.hop_length <= self.n_fft,
            f"features.hop_length {self.hop_length} is above features.n_fft {self.n_fft}",
        )
        require(
            self.n_mels is None or 1 <= self.n_mels <= self.n_fft // 2 + 1,
            f"features.n_mels {self.n_mels} is not in 1..{self.n_fft // 2 + 1}, the bins of n_fft",
        )

    @property
    def num_bins(self) -> int:
        """F: frequency bins of a frame."""
        return self.n_mels or self.n_fft // 2 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes of the network; METHOD.md's letters in the margin."""

    channels: tuple[int, ...] = (64, 128, 128, 128, 256, 512, 768, 768)
    strides_frequency: tuple[int, ...] = (2, 2, 2, 2, 2, 2, 2, 2)
    strides_time: tuple[int, ...] = (2, 2, 2, 2, 2, 1, 2, 1)
    d_model: int = 768  # D
    num_heads: int = 12
    query_heads: int = 8  # of the attention from the text queries
    d_feedforward: int = 3072
    music_layers: int = 2
    text_layers: int = 5  # of the text encoder, and of the decoder
    num_codes: int = 20  # N: segments of the music code, queries of the text code
    max_steps: int = 2048  # S: steps of the music transformer
    max_tokens: int = 192  # L: tokens of a text with its two specials
    vocab_size: int = 30_522  # V: BERT's; a tokenizer trained on a small corpus fills less
    dropout: float = 0.1

    def __post_init__(self) -> None:
        lengths = {len(self.channels), len(self.strides_frequency), len(self.strides_time)}
        require(
            len(lengths) == 1,
            "model.channels, strides_frequency and strides_time have "
            f"{len(self.channels)}, {len(self.strides_frequency)} and {len(self.strides_time)} "
            "values: give as many of each",
        )
        require(bool(self.channels), "model.channels is empty: give one layer or more")
        sizes = (
            "channels strides_frequency strides_time d_model num_heads query_heads d_feedforward "
            "music_layers text_layers num_codes max_steps vocab_size"
        )
        require_within(
            "model",
            self,
            {
                **dict.fromkeys(sizes.split(), (1, None)),
                "max_tokens": (3, None),  # [BOS], a token, [EOS]
                "dropout": (0, BELOW_1),
            },
        )
        for name in ("num_heads", "query_heads"):
            require(
                self.d_model % getattr(self, name) == 0,
                f"model.d_model {self.d_model} is no multiple of model.{name} "
                f"{getattr(self, name)}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weight of each loss (0 = off) and the form of group topology preservation (GTP)."""

    caption: float = 1.0
    text_reconstruction: float = 1.0
    music_reconstruction: float = 1.0
    alignment: float = 0.0  # squared L2 distance of MLP(music code) and text code
    topology: float = 500.0
    topology_form: Literal["queue", "batch"] = "queue"
    divergence: Literal["mse", "kl", "pearson"] = "mse"  # of the queue form; batch: mse or kl
    group_size: int = 32  # K, of the queue form
    tau: float = 32.0  # fixed whatever the group size
    momentum: float = 0.999  # of the momentum encoder
    text_gradient: bool = True  # batch form: let the loss move the text side too
    token_noise: float = 0.15  # share of tokens masked in the text to be reconstructed
    released_behaviour: bool = False  # queue form: leave the anchor and its kin in its group

    def __post_init__(self) -> None:
        require(
            self.topology_form == "queue" or self.divergence in ("mse", "kl"),
            f"loss.divergence {self.divergence!r} does not go with topology_form 'batch': "
            "give mse or kl",
        )
        weights = "caption text_reconstruction music_reconstruction alignment topology".split()
        require_within(
            "loss",
            self,
            {
                **dict.fromkeys(weights, (0, None)),
                "group_size": (2, None),
                "tau": (ABOVE_0, None),
                "momentum": (0, BELOW_1),
                "token_noise": (0, BELOW_1),
            },
        )
        require(
            any(getattr(self, name) for name in weights),
            f"loss.{', '.join(weights)} are all 0: give one of them a weight",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run; saved with what it made."""

    preset: str = "tiny"  # the name of the run's folder by default
    split: str = "default"
    seed: int = 0
    steps: int = 20_000  # updates
    batch_size: int = 16
    crop_s: float = 60.0  # seconds of a clip that one example shows
    learning_rate: float = 1e-4
    warmup_steps: int = 500
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    checkpoint_every: int = 500  # updates
    validate_every: int = 500  # updates
    log_every: int = 10  # updates
    threads: int = 0  # of torch; 0 = as many as there are cores
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        counts = "steps batch_size checkpoint_every validate_every log_every"
        require_within(
            "train",
            self,
            {
                **dict.fromkeys(counts.split(), (1, None)),
                **dict.fromkeys(("seed", "warmup_steps", "threads", "weight_decay"), (0, None)),
                **dict.fromkeys(("learning_rate", "clip_norm"), (ABOVE_0, None)),
                "crop_s": (self.features.n_fft / self.features.sample_rate, None),  # one frame
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateConfig:
    """How a caption is read off the network."""

    method: Literal["greedy", "beam", "nucleus"] = "beam"
    num_beams: int = 4
    top_p: float = 0.9
    temperature: float = 1.0
    max_tokens: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        require_within(
            "generate",
            self,
            {
                "num_beams": (1, None),
                "top_p": (ABOVE_0, 1),
                "temperature": (ABOVE_0, None),
                "max_tokens": (2, None),
                "seed": (0, None),
            },
        )


PRESETS = {
    "tiny": TrainConfig(
        preset="tiny",
        steps=150,
        batch_size=8,
        crop_s=12.0,
        learning_rate=1e-3,
        warmup_steps=15,
        checkpoint_every=50,
        validate_every=50,
        threads=1,  # more would wait for each other: the network is too small to share out
        features=FeatureConfig(n_fft=512, hop_length=256, n_mels=64, log=True),
        model=ModelConfig(
            channels=(16, 32, 48, 64, 96, 128),
            strides_frequency=(2, 2, 2, 2, 2, 2),
            strides_time=(2, 2, 2, 2, 2, 2),
            d_model=128,
            num_heads=4,
            d_feedforward=256,
            music_layers=1,
            text_layers=2,
            num_codes=8,
            max_tokens=128,
            vocab_size=512,
        ),
        loss=LossConfig(topology=10.0, group_size=8),
    ),
    "paper": TrainConfig(preset="paper"),
}
