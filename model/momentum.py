"""The momentum encoder and the queue of its embeddings, as module state that a checkpoint holds."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

EMPTY = -1  # the item of a place that nothing fills


class MomentumEncoder(nn.Module):
    """A slowly following copy of an encoder: never trained, always in eval mode.

    Make it when the encoder has its weights: those it has then are those that it starts from.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode whatever the module above is told."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Any:
        """What the copy makes of `inputs`, without gradient."""
        return self.encoder(*inputs)

    @torch.no_grad()
    def update(self, encoder: nn.Module, momentum: float) -> None:
        """Parameters become momentum * own + (1 - momentum) * encoder's; buffers are copied."""
        for own, other in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            own.lerp_(other, 1 - momentum)
        for own, other in zip(self.encoder.buffers(), encoder.buffers(), strict=True):
            own.copy_(other)


class EmbeddingQueue(nn.Module):
    """The newest momentum embedding of each of the last items seen; the oldest gives way.

    With `size` = group size + batch size every anchor of a batch just pushed finds a full group,
    unless items came again within that many pushes, each being held once, or some are kin to the
    anchor: then the group is smaller.
    """

    embeddings: Tensor  # (Q, E)
    items: Tensor  # (Q,)
    pushed: Tensor  # () embeddings ever pushed

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, width))
        self.register_buffer("items", torch.full((size,), EMPTY))
        self.register_buffer("pushed", torch.tensor(0))

    def push(self, embeddings: Tensor, items: Tensor) -> None:
        """Take in (B, E) embeddings of items (B,); what was held of these items goes. B <= Q."""
        size = len(self.items)
        assert len(items) <= size, f"{len(items)} embeddings pushed into a queue of {size}"
        self.items[torch.isin(self.items, items)] = EMPTY
        places = (self.pushed + torch.arange(len(items), device=items.device)) % size
        self.embeddings[places] = embeddings.detach().to(self.embeddings.dtype)
        self.items[places] = items
        self.pushed += len(items)

    def group(self, strangers: Tensor, size: int) -> Tensor:
        """Whom each of B anchors may meet, (B, Q) bool -> (B, Q) bool: the newest `size` of them.

        Fewer while the queue fills.
        """
        ages = torch.arange(len(self.items), device=strangers.device)
        newest_first = (self.pushed - 1 - ages) % len(self.items)  # (Q,) places
        allowed = ((self.items != EMPTY) & strangers)[:, newest_first]
        chosen = allowed & (allowed.cumsum(dim=1) <= size)
        members = torch.zeros_like(chosen)
        members[:, newest_first] = chosen
        return members
