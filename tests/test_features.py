"""The spectrogram against a Fourier sum written out, and the way back."""

import numpy as np
import pytest
import torch

from model.config import FeatureConfig
from model.features import Spectrogram


def brute_power(samples: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """|sum_n w_n x_n exp(-2 pi i k n / n_fft)|² of each frame, centred, silence beyond: (F, T)."""
    n = np.arange(n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), n) / n_fft)
    padded = np.pad(samples, n_fft // 2)
    starts = range(0, len(padded) - n_fft + 1, hop_length)
    return np.stack([abs(waves @ (window * padded[s : s + n_fft])) ** 2 for s in starts], axis=1)


def brute_mel_filters(n_fft: int, n_mels: int, sample_rate: int) -> np.ndarray:
    """Triangles between n_mels + 2 points equally spaced on the mel scale (n_mels, F)."""
    top_mel = 2595 * np.log10(1 + sample_rate / 2 / 700)
    points = 700 * (10 ** (np.linspace(0, top_mel, n_mels + 2) / 2595) - 1)
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rows = []
    for left, centre, right in zip(points, points[1:], points[2:], strict=False):
        up, down = (hz - left) / (centre - left), (right - hz) / (right - centre)
        rows.append(np.maximum(0, np.minimum(up, down)))
    return np.stack(rows)


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, 1000)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(510, 255), (128, 32), (64, 64)])
def test_spectrogram_is_the_fourier_sum_squared(
    samples: np.ndarray, n_fft: int, hop_length: int
) -> None:
    config = FeatureConfig(n_fft=n_fft, hop_length=hop_length)
    made = Spectrogram(config)(torch.tensor(samples[None], dtype=torch.float32))[0].numpy()
    expected = brute_power(samples, n_fft, hop_length)
    assert made.shape == expected.shape == (config.num_bins, 1000 // hop_length + 1)
    np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-3)


def test_mel_and_log_follow_their_formulas(samples: np.ndarray) -> None:
    config = FeatureConfig(n_fft=256, hop_length=64, n_mels=20, log=True)
    made = Spectrogram(config)(torch.tensor(samples[None], dtype=torch.float32))[0].numpy()
    filters = brute_mel_filters(256, 20, 16_000)
    expected = np.log(1 + filters @ brute_power(samples, 256, 64))
    assert made.shape == (config.num_bins, 16)
    np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("num_samples", [700, 704, 767, 768, 769])
def test_silence_appended_to_a_waveform_leaves_its_own_frames_alone(num_samples: int) -> None:
    features = Spectrogram(FeatureConfig(n_fft=256, hop_length=64))
    alone = torch.rand(1, num_samples, generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(alone, (0, 500))
    frames = int(features.num_frames(torch.tensor(num_samples)))
    assert features(alone).shape[-1] == frames
    torch.testing.assert_close(features(padded)[..., :frames], features(alone))


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(),
        FeatureConfig(n_fft=512, hop_length=128, log=True),
        FeatureConfig(n_fft=512, hop_length=128, n_mels=64, log=True),
    ],
)
def test_the_way_back_gives_the_tone_that_went_in(config: FeatureConfig) -> None:
    time_s = torch.arange(16_000) / 16_000
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * time_s)[None]
    features = Spectrogram(config)
    back = features.waveform(features(tone))
    assert back.shape[-1] == (16_000 // config.hop_length) * config.hop_length
    middle = back[0, 4000:12_000]
    heard_hz = int(torch.fft.rfft(middle).abs().argmax()) * 2
    assert abs(heard_hz - 1000) <= 16_000 / config.n_fft
    loudness = float(middle.square().mean().sqrt() / (0.5 / 2**0.5))
    assert 0.5 < loudness < 2, f"{loudness=} of the tone's own"
    assert torch.equal(back, features.waveform(features(tone)))
