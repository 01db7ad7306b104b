"""What an update minimises: the losses of one batch that the settings give a weight.

Letters: B batch, F frequency bins, T frames, N codes, D width, Q places of the queue, n texts.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from model.config import LossConfig, TrainConfig
from model.examples import Batch, are_kin
from model.features import Spectrogram
from model.losses import (
    alignment_loss,
    captioning_loss,
    gtp_batch_loss,
    gtp_queue_loss,
    music_reconstruction_loss,
    noise_tokens,
    text_reconstruction_loss,
)
from model.momentum import EmbeddingQueue, MomentumEncoder
from model.network import Captioner, MusicCode, length_mask
from model.similarity import bleu_matrix


class Memory(nn.Module):
    """What the queue form of GTP remembers: momentum encoder, queue, likeness of the texts."""

    def __init__(
        self,
        network: Captioner,
        captions: list[str],
        kin: Tensor,
        config: TrainConfig,
        folder: Path,
    ) -> None:
        super().__init__()
        width = config.model.num_codes * config.model.d_model
        self.momentum = MomentumEncoder(network.music_encoder)
        self.queue = EmbeddingQueue(config.loss.group_size + config.batch_size, width)
        self.similarity = torch.from_numpy(bleu_matrix(captions, folder / "similarity"))  # (n, n)
        self.kin = kin  # (n, 2)

    def loss(
        self, codes: Tensor, spectrogram: Tensor, frames: Tensor, items: Tensor, loss: LossConfig
    ) -> Tensor:
        """The GTP loss of a batch, whose own momentum embeddings join the queue first.

        No group has a member of the anchor's clip or caption, the anchor itself least of all:
        beside a likeness of 1 all others would drown (`released_behaviour` leaves them in).
        """
        code = self.momentum(spectrogram, frames)
        assert isinstance(code, MusicCode)
        self.queue.push(Captioner.music_embedding(code.codes), items)
        held = self.queue.items.clamp(min=0)  # (Q,)
        strangers = ~are_kin(self.kin[items], self.kin[held])  # (B, Q)
        members = self.queue.group(strangers | loss.released_behaviour, loss.group_size)
        texts = self.similarity[items][:, held]  # (B, Q)
        return gtp_queue_loss(
            Captioner.music_embedding(codes),
            self.queue.embeddings,
            texts,
            members,
            tau=loss.tau,
            divergence=loss.divergence,
        )


def needs_memory(loss: LossConfig) -> bool:
    """Whether the queue form of GTP is on."""
    return loss.topology > 0 and loss.topology_form == "queue"


def batch_losses(
    network: Captioner,
    spectrogram: Spectrogram,
    batch: Batch,
    weights: LossConfig,
    memory: Memory | None,
    seed: int,
) -> dict[str, Tensor]:
    """Every loss that has a weight, unweighted, by its name in LossConfig."""
    target = spectrogram(batch.waveform)  # (B, F, T)
    frames = spectrogram.num_frames(batch.num_samples)
    code = network.encode_music(target, frames)
    losses = text_losses(network, batch, code, weights, seed)
    if weights.music_reconstruction > 0:
        predicted = network.reconstruct_music(code.steps, code.step_mask)
        mask = length_mask(frames, target.shape[-1])
        losses["music_reconstruction"] = music_reconstruction_loss(predicted, target, mask)
    if memory:
        losses["topology"] = memory.loss(code.codes, target, frames, batch.items, weights)
    return losses


def text_losses(
    network: Captioner, batch: Batch, code: MusicCode, weights: LossConfig, seed: int
) -> dict[str, Tensor]:
    """The losses that look at the texts: all but music reconstruction and GTP's queue form."""
    tokens, mask = batch.tokens, batch.token_mask
    losses = {}
    if weights.caption > 0:
        logits = network.decode_text(tokens, mask, code.codes)
        losses["caption"] = captioning_loss(logits, tokens, mask)
    if weights.text_reconstruction > 0:
        generator = torch.Generator().manual_seed(seed)
        noised = noise_tokens(tokens, mask, weights.token_noise, generator)
        logits = network.decode_text(tokens, mask, network.encode_text(noised, mask))
        losses["text_reconstruction"] = text_reconstruction_loss(logits, tokens, mask)
    in_batch = weights.topology > 0 and weights.topology_form == "batch"
    if weights.alignment > 0 or in_batch:
        text = network.encode_text(tokens, mask)  # (B, N, D)
    if weights.alignment > 0:
        losses["alignment"] = alignment_loss(network.align_head(code.codes), text)
    if in_batch:
        assert weights.divergence != "pearson", "LossConfig refuses it"
        losses["topology"] = gtp_batch_loss(
            code.codes.flatten(1),
            text.flatten(1),
            ~are_kin(batch.kin, batch.kin),
            divergence=weights.divergence,
            text_gradient=weights.text_gradient,
        )
    return losses


def weighted_sum(losses: Mapping[str, Tensor], weights: LossConfig) -> Tensor:
    """What is minimised."""
    return torch.stack([getattr(weights, name) * loss for name, loss in losses.items()]).sum()
