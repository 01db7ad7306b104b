"""Waveform -> spectrogram, and back by Griffin-Lim, on torchaudio's transforms."""

import torch
from torch import Tensor, nn

from model.config import FeatureConfig
from model.torchaudio_import import transforms

GRIFFIN_LIM_ITERATIONS = 32


class Spectrogram(nn.Module):
    """Power spectrogram of a Hann window: (B, num_samples) -> (B, F, T).

    Frame t is centred on sample t * hop_length, and there is silence beyond both ends, so that
    zeros appended to a waveform leave its own `num_frames` frames as they are.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        stft = {"n_fft": config.n_fft, "hop_length": config.hop_length, "pad_mode": "constant"}
        if config.n_mels is None:
            self.power = transforms.Spectrogram(**stft, power=2.0)
        else:
            self.power = transforms.MelSpectrogram(
                config.sample_rate, n_mels=config.n_mels, **stft, power=2.0
            )

    def forward(self, waveform: Tensor) -> Tensor:
        """Samples in [-1, 1] -> power of each bin, or log(1 + power) if the settings say so."""
        power = self.power(waveform)
        return torch.log1p(power) if self.config.log else power

    def num_frames(self, num_samples: Tensor) -> Tensor:
        """T of a waveform of `num_samples`."""
        return num_samples // self.config.hop_length + 1

    def waveform(self, spectrogram: Tensor) -> Tensor:
        """(B, F, T) -> (B, (T - 1) * hop_length) samples of about that spectrogram.

        The phase is guessed by Griffin-Lim from zero phase: the same input, the same sound.
        """
        config = self.config
        power = (torch.expm1(spectrogram) if config.log else spectrogram).clamp(min=0)
        if config.n_mels is not None:
            linear = transforms.InverseMelScale(
                config.n_fft // 2 + 1, config.n_mels, config.sample_rate, driver="gelsd"
            )
            power = linear(power)
        griffin_lim = transforms.GriffinLim(
            config.n_fft, GRIFFIN_LIM_ITERATIONS, hop_length=config.hop_length, rand_init=False
        )
        return griffin_lim(power)
