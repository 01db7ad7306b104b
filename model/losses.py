"""Every loss as a pure function of tensors.

Letters: B batch, L tokens, V vocabulary, F frequency bins, T frames, N codes, D width,
E embedding width (N * D), Q places of the queue. Group topology preservation (GTP): queue form
after Kuang et al., arXiv 2210.00434, and its code; batch form after a later reading of the paper.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from model.tokenizer import MASK, SPECIALS

Divergence = Literal["mse", "kl", "pearson"]


# ---- texts ----------------------------------------------------------------------------------


def captioning_loss(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of each next token, mean over the valid tokens of the batch.

    logits (B, L, V), where place l foretells token l + 1; tokens (B, L); mask (B, L) bool.
    """
    targets = tokens[:, 1:].masked_fill(~mask[:, 1:], -100)  # (B, L - 1)
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), targets, ignore_index=-100)


def text_reconstruction_loss(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """`captioning_loss` of logits that were read off the text's own, noised, text code."""
    return captioning_loss(logits, tokens, mask)


def noise_tokens(tokens: Tensor, mask: Tensor, share: float, generator: Generator) -> Tensor:
    """Tokens (B, L) with about `share` of the valid ones, specials never, replaced by [MASK]."""
    chance = torch.rand(tokens.shape, generator=generator).to(tokens.device)
    return tokens.masked_fill((chance < share) & mask & (tokens >= len(SPECIALS)), MASK)


# ---- music ----------------------------------------------------------------------------------


def music_reconstruction_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """MSE of the spectrogram plus MSE of its first differences along frequency and along time.

    predicted (B, F, T') with T' >= T, target (B, F, T), mask (B, T) bool: the first frames of
    each, those within the recording. A difference along time counts where its later frame does.
    """
    error = predicted[..., : target.shape[-1]] - target  # (B, F, T)
    return (
        masked_mean_square(error, mask)
        + masked_mean_square(error.diff(dim=1), mask)
        + masked_mean_square(error.diff(dim=2), mask[:, 1:])
    )


def masked_mean_square(error: Tensor, mask: Tensor) -> Tensor:
    """Mean of error² (B, F, T) over the frames of mask (B, T); 0 if there is none."""
    total = error.square().masked_fill(~mask[:, None], 0.0).sum()
    return total / (mask.sum() * error.shape[1]).clamp(min=1)


# ---- the two streams ------------------------------------------------------------------------


def alignment_loss(aligned: Tensor, text_codes: Tensor) -> Tensor:
    """Squared L2 distance of MLP(music code) and text code (B, N, D), mean over B and N."""
    return (aligned - text_codes).square().sum(dim=-1).mean()


def gtp_queue_loss(
    music: Tensor,
    queue: Tensor,
    similarity: Tensor,
    members: Tensor,
    *,
    tau: float,
    divergence: Divergence = "mse",
) -> Tensor:
    """GTP, queue form: an anchor stands to the music of its group as its text does to their texts.

    p = softmax_j(tau cos(z_i, m_j)) and q = softmax_j(tau s(t_i, t_j)) over the members j of the
    group of anchor i; mean over the anchors of their divergence. The gradient moves `music` alone.

    Parameters
    ----------
    music : (B, E) embeddings z of the anchors, of any length.
    queue : (Q, E) momentum embeddings m.
    similarity : (B, Q) of the anchor's text to the others', in [0, 1].
    members : (B, Q) bool, the group of each anchor. With the anchor itself, its clip or an equal
        text left in, q is one-hot on it and no topology is left (the released code's fault:
        `Memory.loss` of objective.py). An anchor with fewer than two members does not count.
    divergence : "mse" mean over members of (p - q)²; "kl" (KL(p||q) + KL(q||p)) / 2;
        "pearson" minus the correlation of p and q.
    """
    anchors = members.sum(dim=1) >= 2
    if not anchors.any():
        return music.sum() * 0.0
    music, similarity, members = music[anchors], similarity[anchors], members[anchors]
    log_p = masked_log_softmax(tau * cosines(music, queue.detach()), members)  # (B, Q)
    log_q = masked_log_softmax(tau * similarity.to(music.dtype), members)
    if divergence == "kl":
        return symmetric_kl(log_p, log_q).mean()
    p, q = log_p.exp() * members, log_q.exp() * members
    if divergence == "mse":
        return ((p - q).square().sum(dim=1) / members.sum(dim=1)).mean()
    return -pearson(p, q, members).mean()


def gtp_batch_loss(
    music: Tensor,
    text: Tensor,
    others: Tensor,
    *,
    divergence: Literal["mse", "kl"] = "kl",
    text_gradient: bool = True,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """GTP, batch form: the rows of the two cosine matrices agree in the entries of `others`.

    music, text (B, E) embeddings of any length; others (B, B) bool, whom each row stands to: not
    itself, nor one of its clip or its text. Each row goes through a softmax over its others; its
    divergence is (KL(p||q) + KL(q||p)) / 2, or with "mse" the squared L2 distance. `reduction` is
    over the rows (the published text sums). Without `text_gradient` the texts are a fixed target.
    A row with fewer than two others has no topology and does not count.
    """
    if not text_gradient:
        text = text.detach()
    counted = others.sum(dim=1) >= 2
    if not counted.any():
        return music.sum() * 0.0
    others = others[counted]
    log_p = masked_log_softmax(cosines(music, music)[counted], others)  # (B, B)
    log_q = masked_log_softmax(cosines(text, text)[counted], others)
    if divergence == "kl":
        losses = symmetric_kl(log_p, log_q)  # (B,)
    else:  # both are 1 outside others
        losses = (log_p.exp() - log_q.exp()).square().sum(dim=1)
    return losses.mean() if reduction == "mean" else losses.sum()


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """(B, E), (Q, E) -> cosine of every pair (B, Q)."""
    return F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).T


def masked_log_softmax(scores: Tensor, members: Tensor) -> Tensor:
    """log softmax over the members of each row (B, Q); 0 for all others."""
    lowest = torch.finfo(scores.dtype).min
    log_share = scores.masked_fill(~members, lowest).log_softmax(dim=1)
    return log_share.masked_fill(~members, 0.0)


def symmetric_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(KL(p||q) + KL(q||p)) / 2 of each row (B, Q); an entry of 0 in both adds nothing."""
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1) / 2


def pearson(p: Tensor, q: Tensor, members: Tensor) -> Tensor:
    """Correlation of p and q over the members of each row (B,); 0 where either is constant."""
    count = members.sum(dim=1, keepdim=True)
    p = (p - p.sum(dim=1, keepdim=True) / count) * members
    q = (q - q.sum(dim=1, keepdim=True) / count) * members
    return F.cosine_similarity(p, q, dim=1)
