"""Every loss against sums written out, and the gradients where they belong."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.losses import (
    alignment_loss,
    captioning_loss,
    gtp_batch_loss,
    gtp_queue_loss,
    music_reconstruction_loss,
    noise_tokens,
    text_reconstruction_loss,
)
from model.tokenizer import BOS, EOS, MASK, PAD

DIVERGENCES = ["mse", "kl", "pearson"]


@pytest.fixture
def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def cosine(a: Tensor, b: Tensor) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


def kl(p: list[float], q: list[float]) -> float:
    return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))


def correlation(p: list[float], q: list[float]) -> float:
    p_mean, q_mean = sum(p) / len(p), sum(q) / len(q)
    p, q = [x - p_mean for x in p], [y - q_mean for y in q]
    covariance = sum(x * y for x, y in zip(p, q, strict=True))
    return covariance / math.sqrt(sum(x * x for x in p) * sum(y * y for y in q))


ROW: dict[str, Callable[[list[float], list[float]], float]] = {
    "mse": lambda p, q: sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) / len(p),
    "kl": lambda p, q: (kl(p, q) + kl(q, p)) / 2,
    "pearson": lambda p, q: -correlation(p, q),
}


# ---- texts ----------------------------------------------------------------------------------


def test_captioning_loss_is_the_mean_of_the_next_tokens_surprise(numbers: torch.Generator) -> None:
    logits = torch.randn(2, 4, 6, generator=numbers)
    tokens = torch.tensor([[BOS, 4, 5, EOS], [BOS, 5, EOS, PAD]])
    mask = tokens != PAD
    nexts = [(0, 0, 4), (0, 1, 5), (0, 2, EOS), (1, 0, 5), (1, 1, EOS)]
    surprise = [-math.log(softmax(logits[b, at].tolist())[token]) for b, at, token in nexts]
    expected = sum(surprise) / len(surprise)
    assert float(captioning_loss(logits, tokens, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(text_reconstruction_loss(logits, tokens, mask)) == pytest.approx(expected)


def test_what_stands_in_the_padding_does_not_count(numbers: torch.Generator) -> None:
    logits = torch.randn(1, 5, 6, generator=numbers, requires_grad=True)
    mask = torch.tensor([[True, True, True, False, False]])
    losses = [
        captioning_loss(logits, torch.tensor([[BOS, 4, EOS, *tail]]), mask)
        for tail in ([PAD, PAD], [5, 4])
    ]
    assert losses[0] == losses[1]
    losses[0].backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum(dim=-1).gt(0).tolist() == [[True, True, False, False, False]]


def test_noise_masks_its_share_of_the_words_and_no_special() -> None:
    tokens = torch.full((20, 502), 7)
    tokens[:, 0], tokens[:, -1] = BOS, EOS
    mask = torch.arange(502).expand(20, -1) < 400
    noised = noise_tokens(tokens, mask, 0.15, torch.Generator().manual_seed(3))
    changed = noised != tokens
    assert bool((noised[changed] == MASK).all())
    assert not changed[:, 0].any()
    assert not changed[~mask].any()
    assert float(changed[:, 1:400].float().mean()) == pytest.approx(0.15, abs=0.02)
    again = noise_tokens(tokens, mask, 0.15, torch.Generator().manual_seed(3))
    other = noise_tokens(tokens, mask, 0.15, torch.Generator().manual_seed(4))
    assert torch.equal(again, noised)
    assert not torch.equal(other, noised)
    assert torch.equal(noise_tokens(tokens, mask, 0.0, torch.Generator()), tokens)


# ---- music ----------------------------------------------------------------------------------


def test_music_reconstruction_by_hand() -> None:
    target = torch.zeros(1, 2, 3)
    predicted = torch.tensor([[[1.0, 3.0, 0.0], [2.0, 5.0, 0.0]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    values = (1 + 9 + 4 + 25) / 6
    along_frequency = (1 + 4 + 0) / 3
    along_time = (4 + 9 + 9 + 25) / 4
    made = music_reconstruction_loss(predicted, target, mask)
    assert float(made) == pytest.approx(values + along_frequency + along_time)


def test_frames_beyond_the_recording_do_not_count(numbers: torch.Generator) -> None:
    predicted = torch.randn(2, 4, 9, generator=numbers)
    target = torch.randn(2, 4, 7, generator=numbers)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    made = music_reconstruction_loss(predicted, target, mask)
    error = [predicted[0, :, :7] - target[0], predicted[1, :, :4] - target[1, :, :4]]
    expected = sum(
        torch.cat([part.square().flatten() for part in parts]).mean()
        for parts in (error, [e.diff(dim=0) for e in error], [e.diff(dim=1) for e in error])
    )
    torch.testing.assert_close(made, expected)
    predicted[..., 7:], predicted[1, :, 4:], target[1, :, 4:] = torch.inf, torch.nan, 1e9
    torch.testing.assert_close(music_reconstruction_loss(predicted, target, mask), expected)


# ---- the two streams ------------------------------------------------------------------------


def test_alignment_is_the_squared_distance() -> None:
    aligned = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    text = torch.tensor([[[4.0, 6.0], [0.0, 1.0]]])
    assert float(alignment_loss(aligned, text)) == (25 + 1) / 2


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_queue_loss_is_the_sum_written_out(numbers: torch.Generator, divergence: str) -> None:
    music, queue = (torch.randn(n, 5, generator=numbers) for n in (3, 7))
    similarity = torch.rand(3, 7, generator=numbers)
    members = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1, 1], [1] * 7]).bool()
    rows = []
    for i in range(3):
        group = [j for j in range(7) if members[i, j]]
        p = softmax([4.0 * cosine(music[i], queue[j]) for j in group])
        q = softmax([4.0 * float(similarity[i, j]) for j in group])
        rows.append(ROW[divergence](p, q))
    made = gtp_queue_loss(music, queue, similarity, members, tau=4.0, divergence=divergence)
    assert float(made) == pytest.approx(sum(rows) / 3, rel=1e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_queue_loss_moves_the_music_alone(numbers: torch.Generator, divergence: str) -> None:
    music = torch.randn(2, 5, generator=numbers, requires_grad=True)
    queue = torch.randn(6, 5, generator=numbers, requires_grad=True)
    similarity = torch.rand(2, 6, generator=numbers)
    members = torch.ones(2, 6, dtype=torch.bool)
    gtp_queue_loss(music, queue, similarity, members, tau=4.0, divergence=divergence).backward()
    assert queue.grad is None
    assert music.grad is not None
    assert bool(music.grad.abs().sum(dim=1).gt(0).all())


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_an_anchor_without_a_group_does_not_count(
    numbers: torch.Generator, divergence: str
) -> None:
    music = torch.randn(3, 5, generator=numbers, requires_grad=True)
    queue, similarity = torch.randn(4, 5, generator=numbers), torch.rand(3, 4, generator=numbers)
    members = torch.tensor([[True] * 4, [False, True, False, False], [False] * 4])
    made = gtp_queue_loss(music, queue, similarity, members, tau=4.0, divergence=divergence)
    alone = gtp_queue_loss(
        music[:1], queue, similarity[:1], members[:1], tau=4.0, divergence=divergence
    )
    torch.testing.assert_close(made, alone)
    made.backward()
    assert music.grad is not None
    assert bool(music.grad.isfinite().all())
    none = gtp_queue_loss(music, queue, similarity, members & False, tau=4.0)
    none.backward()
    assert none.item() == 0


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_texts_that_are_all_alike_give_a_finite_gradient(
    numbers: torch.Generator, divergence: str
) -> None:
    music = torch.randn(2, 5, generator=numbers, requires_grad=True)
    queue = torch.randn(4, 5, generator=numbers)
    members = torch.ones(2, 4, dtype=torch.bool)
    loss = gtp_queue_loss(music, queue, torch.ones(2, 4), members, tau=32.0, divergence=divergence)
    loss.backward()
    assert music.grad is not None
    assert bool(loss.isfinite())
    assert bool(music.grad.isfinite().all())


def test_queue_loss_is_least_where_music_stands_as_the_texts_do() -> None:
    queue = torch.eye(3)
    music = torch.tensor([[3.0, 2.0, 1.0]])
    similarity = music / music.norm()
    members = torch.ones(1, 3, dtype=torch.bool)
    assert float(gtp_queue_loss(music, queue, similarity, members, tau=32.0)) < 1e-12
    assert float(gtp_queue_loss(music, queue, similarity.flip(1), members, tau=32.0)) > 0.1


def test_an_anchor_in_its_own_group_leaves_no_topology() -> None:
    """The released code's fault: the target is one-hot, whatever the other texts say."""
    tau, size = 32.0, 32
    near = torch.linspace(0.0, 0.25, size)[None].clone()  # sentence BLEU / 100 of other texts
    near[0, 0] = 1.0  # of the anchor's with itself
    far = near.flip(1).clone()
    far[0, 0], far[0, -1] = 1.0, 0.0
    own = softmax((tau * near[0]).tolist())[0]
    assert own > 1 - 1e-8
    everyone = torch.ones(1, size, dtype=torch.bool)
    others = everyone.clone()
    others[0, 0] = False
    skewed = torch.arange(size, dtype=torch.float32)[None]  # music that leans to the last
    with_itself = [
        float(gtp_queue_loss(skewed, torch.eye(size), s, everyone, tau=tau)) for s in (near, far)
    ]
    assert with_itself[0] == pytest.approx(with_itself[1], rel=1e-6)
    near_loss, far_loss = (
        float(gtp_queue_loss(skewed, torch.eye(size), s, others, tau=tau)) for s in (near, far)
    )
    assert far_loss > 2 * near_loss


@pytest.mark.parametrize("divergence", ["kl", "mse"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_batch_loss_is_the_sum_written_out(
    numbers: torch.Generator, divergence: str, reduction: str
) -> None:
    music, text = (torch.randn(4, n, generator=numbers) for n in (5, 6))
    rows = []
    for i in range(4):
        others = [j for j in range(4) if j != i]
        p = softmax([cosine(music[i], music[j]) for j in others])
        q = softmax([cosine(text[i], text[j]) for j in others])
        row = ROW[divergence](p, q)
        rows.append(row * len(others) if divergence == "mse" else row)  # squared L2, no mean
    expected = sum(rows) / (4 if reduction == "mean" else 1)
    diagonal = ~torch.eye(4, dtype=torch.bool)
    made = gtp_batch_loss(music, text, diagonal, divergence=divergence, reduction=reduction)
    assert float(made) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("divergence", ["kl", "mse"])
def test_batch_loss_takes_only_the_others_of_each_row(
    numbers: torch.Generator, divergence: str
) -> None:
    music, text = (torch.randn(4, n, generator=numbers) for n in (5, 6))
    others = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 0]]).bool()
    rows = []
    for i in range(3):  # the last has but one other
        group = [j for j in range(4) if others[i, j]]
        p = softmax([cosine(music[i], music[j]) for j in group])
        q = softmax([cosine(text[i], text[j]) for j in group])
        row = ROW[divergence](p, q)
        rows.append(row * len(group) if divergence == "mse" else row)
    music.requires_grad_()
    made = gtp_batch_loss(music, text, others, divergence=divergence)
    assert float(made.detach()) == pytest.approx(sum(rows) / 3, rel=1e-4)
    made.backward()
    assert music.grad is not None
    assert bool(music.grad.isfinite().all())


@pytest.mark.parametrize("divergence", ["kl", "mse"])
def test_batch_loss_moves_the_text_only_where_it_may(
    numbers: torch.Generator, divergence: str
) -> None:
    for text_gradient in (True, False):
        music, text = (torch.randn(4, 5, generator=numbers).requires_grad_() for _ in range(2))
        others = ~torch.eye(4, dtype=torch.bool)
        loss = gtp_batch_loss(
            music, text, others, divergence=divergence, text_gradient=text_gradient
        )
        loss.backward()
        assert music.grad is not None
        assert bool(music.grad.any())
        assert (text.grad is not None) == text_gradient


@pytest.mark.parametrize("rows", [1, 2])
def test_batch_loss_of_a_batch_without_topology_is_zero(
    numbers: torch.Generator, rows: int
) -> None:
    music, text = (torch.randn(rows, 5, generator=numbers).requires_grad_() for _ in range(2))
    loss = gtp_batch_loss(music, text, ~torch.eye(rows, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-7)
    assert music.grad is not None
    assert float(music.grad.abs().max()) == pytest.approx(0.0, abs=1e-6)
