"""The network: nothing leaks from padding or from the future, and generation is the argmax."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from crawler.errors import UserError
from model.config import PRESETS, FeatureConfig, GenerateConfig, ModelConfig
from model.network import Captioner, segment_means
from model.tokenizer import BOS, EOS, MASK, PAD

FEATURES = FeatureConfig(n_fft=62, hop_length=31)  # 32 bins
MODEL = ModelConfig(
    channels=(4, 6, 8),
    strides_frequency=(2, 2, 2),
    strides_time=(2, 1, 2),
    d_model=16,
    num_heads=2,
    query_heads=4,
    d_feedforward=32,
    music_layers=2,
    text_layers=2,
    num_codes=5,
    max_steps=50,
    max_tokens=24,
    vocab_size=8,
)


@pytest.fixture
def captioner() -> Captioner:
    """Larger weights than at birth, so that every input shows in the output."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        captioner = Captioner(MODEL, FEATURES).eval()
        for parameter in captioner.parameters():
            parameter.data.add_(torch.randn_like(parameter), alpha=0.3)
    return captioner


@pytest.fixture
def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_shapes(captioner: Captioner, numbers: torch.Generator) -> None:
    code = captioner.encode_music(torch.rand(2, 32, 41, generator=numbers), torch.tensor([41, 20]))
    assert code.steps.shape == (2, 11, 16)
    assert code.step_mask.sum(dim=1).tolist() == [11, 5]
    assert code.codes.shape == (2, 5, 16)
    assert captioner.reconstruct_music(code.steps, code.step_mask).shape == (2, 32, 44)
    tokens, mask = torch.full((2, 9), 5), torch.ones(2, 9, dtype=torch.bool)
    assert captioner.encode_text(tokens, mask).shape == (2, 5, 16)
    assert captioner.decode_text(tokens, mask, code.codes).shape == (2, 9, 8)
    assert captioner.align_head(code.codes).shape == (2, 5, 16)


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 20, 40])
def test_padding_of_music_changes_nothing(
    captioner: Captioner, numbers: torch.Generator, frames: int
) -> None:
    alone = torch.rand(1, 32, frames, generator=numbers)
    batch = torch.rand(3, 32, 41, generator=numbers)  # what lies in the padding is no silence
    batch[1, :, :frames] = alone
    code = captioner.encode_music(alone, torch.tensor([frames]))
    padded = captioner.encode_music(batch, torch.tensor([41, frames, 30]))
    steps = code.steps.shape[1]
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(padded.steps[1, :steps], code.steps[0], **close)
    torch.testing.assert_close(padded.codes[1], code.codes[0], **close)
    assert not padded.steps[1, steps:].any()
    torch.testing.assert_close(
        captioner.reconstruct_music(padded.steps, padded.step_mask)[1, :, :frames],
        captioner.reconstruct_music(code.steps, code.step_mask)[0, :, :frames],
        **close,
    )


def test_the_last_frame_is_heard(captioner: Captioner, numbers: torch.Generator) -> None:
    music = torch.rand(1, 32, 41, generator=numbers)
    other = music.clone()
    other[..., 40] += 1
    length = torch.tensor([41])
    assert not torch.allclose(
        captioner.encode_music(music, length).codes, captioner.encode_music(other, length).codes
    )


@pytest.mark.parametrize("length", [1, 4, 5, 6, 12, 13])
def test_segment_means_are_adaptive_average_pooling(numbers: torch.Generator, length: int) -> None:
    steps = torch.rand(2, 13, 3, generator=numbers)
    pooled = F.adaptive_avg_pool1d(steps[:1, :length].transpose(1, 2), 5).transpose(1, 2)
    made = segment_means(steps, torch.tensor([length, 13]), 5)
    torch.testing.assert_close(made[:1], pooled)


def test_padding_of_text_changes_nothing(captioner: Captioner, numbers: torch.Generator) -> None:
    codes = torch.rand(1, 5, 16, generator=numbers)
    alone = torch.tensor([[BOS, 4, 5, 6, EOS]])
    padded = torch.tensor([[BOS, 4, 5, 6, EOS, PAD, 7]])
    mask = torch.arange(7)[None] < 5
    torch.testing.assert_close(
        captioner.encode_text(padded, mask), captioner.encode_text(alone, mask[:, :5])
    )
    torch.testing.assert_close(
        captioner.decode_text(padded, mask, codes)[:, :5],
        captioner.decode_text(alone, mask[:, :5], codes),
    )


def test_decoder_sees_the_past_and_the_codes_but_no_future(
    captioner: Captioner, numbers: torch.Generator
) -> None:
    codes = torch.rand(1, 5, 16, generator=numbers)
    mask = torch.ones(1, 6, dtype=torch.bool)
    tokens = torch.tensor([[BOS, 4, 5, 6, 7, EOS]])
    other = torch.tensor([[BOS, 4, 5, 4, 7, EOS]])
    logits = captioner.decode_text(tokens, mask, codes)
    changed = captioner.decode_text(other, mask, codes)
    torch.testing.assert_close(changed[:, :3], logits[:, :3])
    assert all(not torch.allclose(changed[:, i], logits[:, i]) for i in (3, 4, 5))
    elsewhere = captioner.decode_text(tokens, mask, codes.flip(1) * 2)
    assert all(not torch.allclose(elsewhere[:, i], logits[:, i]) for i in range(6))


def test_music_embedding_is_flat_and_of_length_one(
    captioner: Captioner, numbers: torch.Generator
) -> None:
    codes = torch.randn(3, 5, 16, generator=numbers)
    embedding = captioner.music_embedding(codes)
    torch.testing.assert_close(embedding, codes.flatten(1) / codes.flatten(1).norm(dim=1)[:, None])


def brute_greedy(captioner: Captioner, codes: torch.Tensor, max_tokens: int) -> list[int]:
    ids = [BOS]
    while len(ids) < max_tokens and ids[-1] != EOS:
        tokens = torch.tensor([ids])
        logits = captioner.decode_text(tokens, torch.ones_like(tokens, dtype=torch.bool), codes)
        logits[..., [PAD, BOS, MASK]] = -torch.inf  # specials that no text holds
        ids.append(int(logits[0, -1].argmax()))
    return [index for index in ids if index not in (BOS, EOS)]


@torch.no_grad()
def test_greedy_is_the_argmax_step_by_step(captioner: Captioner, numbers: torch.Generator) -> None:
    codes = torch.randn(12, 5, 16, generator=numbers) * 3
    made = captioner.generate_tokens(codes, GenerateConfig(method="greedy", max_tokens=20))
    assert made == [brute_greedy(captioner, code[None], 20) for code in codes]
    assert len({len(ids) for ids in made}) > 1, "no text ended before the others: no test of it"
    assert captioner.generate_tokens(codes, GenerateConfig(num_beams=1, max_tokens=20)) == made


@torch.no_grad()
def test_wide_beams_find_the_best_of_all_texts(
    captioner: Captioner, numbers: torch.Generator
) -> None:
    codes = torch.randn(6, 5, 16, generator=numbers) * 3
    words = [4, 5, 6, 7]
    texts = [(*w, EOS) for n in range(3) for w in itertools.product(words, repeat=n)]
    texts += list(itertools.product(words, repeat=3))  # cut off by max_tokens
    best = [
        max(texts, key=mean_log_probabilities(captioner, texts, code).__getitem__)
        for code in codes[:, None]
    ]
    settings = GenerateConfig(method="beam", num_beams=64, max_tokens=4)
    made = captioner.generate_tokens(codes, settings)
    assert made == [[index for index in text if index != EOS] for text in best]
    assert len({tuple(ids) for ids in made}) > 1


def mean_log_probabilities(
    captioner: Captioner, texts: list[tuple[int, ...]], codes: torch.Tensor
) -> dict[tuple[int, ...], float]:
    """What beam search maximises: the mean log p of a text's tokens with [EOS]."""
    size = max(map(len, texts))
    tokens = torch.tensor([[BOS, *text, *[PAD] * (size - len(text))] for text in texts])
    log_p = captioner.decode_text(
        tokens, tokens != PAD, codes.expand(len(texts), -1, -1)
    ).log_softmax(dim=-1)
    return {
        text: sum(float(log_p[row, place, token]) for place, token in enumerate(text)) / len(text)
        for row, text in enumerate(texts)
    }


@torch.no_grad()
@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_a_text_does_not_depend_on_its_batch(
    captioner: Captioner, numbers: torch.Generator, method: str
) -> None:
    codes = torch.randn(5, 5, 16, generator=numbers) * 3
    settings = GenerateConfig(method=method, num_beams=3, max_tokens=12)
    alone = [captioner.generate_tokens(code[None], settings)[0] for code in codes]
    assert captioner.generate_tokens(codes, settings) == alone
    assert len({tuple(ids) for ids in alone}) > 1


@torch.no_grad()
def test_nucleus_is_ruled_by_its_own_seed(captioner: Captioner, numbers: torch.Generator) -> None:
    codes = torch.randn(6, 5, 16, generator=numbers)
    before = torch.random.get_rng_state()
    drawn = [
        captioner.generate_tokens(codes, GenerateConfig(method="nucleus", seed=s, max_tokens=12))
        for s in (0, 0, 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn[0] == drawn[1] != drawn[2]
    narrow = GenerateConfig(method="nucleus", top_p=1e-6, max_tokens=12)
    greedy = GenerateConfig(method="greedy", max_tokens=12)
    assert captioner.generate_tokens(codes, narrow) == captioner.generate_tokens(codes, greedy)


def test_the_whole_nucleus_is_drawn_from() -> None:
    captioner = Captioner(replace(MODEL, vocab_size=300), FEATURES).eval()
    settings = GenerateConfig(method="nucleus", top_p=1.0, max_tokens=2)
    drawn = captioner.generate_tokens(torch.zeros(400, 5, 16), settings)
    assert len({tuple(ids) for ids in drawn}) > 100  # near to uniform over 297, unlearned


def test_text_keeps_within_the_positions_of_the_network(captioner: Captioner) -> None:
    made = captioner.generate_tokens(torch.zeros(1, 5, 16), GenerateConfig(max_tokens=500))
    assert len(made[0]) <= MODEL.max_tokens - 1


def test_too_long_a_recording_is_named(captioner: Captioner) -> None:
    with pytest.raises(UserError, match=r"51 steps is longer than model\.max_steps 50"):
        captioner.encode_music(torch.zeros(1, 32, 201), torch.tensor([201]))


def test_bins_that_do_not_halve_evenly_come_back(numbers: torch.Generator) -> None:
    captioner = Captioner(MODEL, FeatureConfig(n_fft=74, hop_length=31)).eval()  # 38 -> 5 -> 40
    code = captioner.encode_music(torch.rand(1, 38, 9, generator=numbers), torch.tensor([9]))
    assert captioner.reconstruct_music(code.steps, code.step_mask).shape == (1, 38, 12)


def test_every_weight_learns(captioner: Captioner, numbers: torch.Generator) -> None:
    tokens, mask = torch.tensor([[BOS, 4, 5, EOS]]), torch.ones(1, 4, dtype=torch.bool)
    code = captioner.encode_music(torch.rand(1, 32, 41, generator=numbers), torch.tensor([41]))
    text_codes = captioner.encode_text(tokens, mask)
    outputs = (
        captioner.decode_text(tokens, mask, code.codes),
        captioner.decode_text(tokens, mask, text_codes),
        captioner.reconstruct_music(code.steps, code.step_mask),
        captioner.align_head(code.codes),
    )
    sum(output.square().sum() for output in outputs).backward()
    idle = [
        name
        for name, weight in captioner.named_parameters()
        if weight.grad is None or not weight.grad.abs().any()
    ]
    # a bias on keys moves all scores of a row alike and so has no effect on a softmax
    assert [name for name in idle if not name.endswith("key.bias")] == []


def test_the_paper_preset_has_the_published_size() -> None:
    paper = PRESETS["paper"]
    with torch.device("meta"):
        captioner = Captioner(paper.model, paper.features)
    count = sum(parameter.numel() for parameter in captioner.parameters())
    assert count == pytest.approx(172e6, rel=0.05)
    maps = torch.empty(1, 1, 256, 640, device="meta")
    for convolution in captioner.music_encoder.convolutions:
        maps = convolution(maps)
    assert maps.shape == (1, 768, 1, 10)  # (B, 768, 1, T / 64)
