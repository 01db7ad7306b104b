"""The momentum encoder follows slowly, and no group holds its own anchor."""

import pytest
import torch
from torch import nn

from model.momentum import EMPTY, EmbeddingQueue, MomentumEncoder


def make_encoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))


def test_the_copy_starts_from_the_weights_of_its_moment_and_does_not_learn() -> None:
    encoder = make_encoder()
    with torch.no_grad():
        encoder[0].weight.fill_(7)  # as if loaded
    follower = MomentumEncoder(encoder)
    assert bool((follower.encoder[0].weight == 7).all())
    assert follower.encoder[0].weight is not encoder[0].weight
    assert not any(weight.requires_grad for weight in follower.parameters())
    assert all(weight.requires_grad for weight in encoder.parameters())
    assert not follower(torch.randn(2, 3)).requires_grad


def test_it_stays_in_eval_mode_within_a_module_that_trains() -> None:
    outer = nn.ModuleList([make_encoder(), MomentumEncoder(make_encoder())])
    outer.train()
    assert outer[0].training
    assert not any(part.training for part in outer[1].modules())


def test_update_is_an_exponential_moving_average_of_weights_and_a_copy_of_buffers() -> None:
    encoder = make_encoder()
    follower = MomentumEncoder(encoder)
    expected = [weight.detach().clone() for weight in encoder.parameters()]
    for step in range(3):
        with torch.no_grad():
            for weight in encoder.parameters():
                weight += step + 1
        encoder(torch.randn(8, 3))  # moves the buffers of BatchNorm
        follower.update(encoder, 0.9)
        expected = [
            0.9 * old + 0.1 * new.detach()
            for old, new in zip(expected, encoder.parameters(), strict=True)
        ]
    for own, value in zip(follower.encoder.parameters(), expected, strict=True):
        torch.testing.assert_close(own, value)
    for own, other in zip(follower.encoder.buffers(), encoder.buffers(), strict=True):
        assert torch.equal(own, other)
    assert int(encoder[1].num_batches_tracked) == 3


def push(queue: EmbeddingQueue, *items: int) -> None:
    """Each item's embedding is filled with its number, so that the two can be compared."""
    numbers = torch.tensor(items)
    queue.push(numbers[:, None].float().expand(-1, 2), numbers)


def group_items(queue: EmbeddingQueue, anchor: int, size: int) -> list[int]:
    members = queue.group(queue.items[None] != anchor, size)[0]
    return sorted(queue.items[members].tolist())


def test_a_group_is_the_newest_items_without_the_anchor() -> None:
    queue = EmbeddingQueue(6, 2)
    assert group_items(queue, 1, 3) == []
    push(queue, 1, 2)
    assert group_items(queue, 1, 3) == [2]
    push(queue, 3, 4)
    push(queue, 5, 6)
    assert group_items(queue, 6, 3) == [3, 4, 5]
    assert group_items(queue, 1, 3) == [4, 5, 6]
    push(queue, 7, 8)  # 1 and 2 give way
    assert group_items(queue, 7, 9) == [3, 4, 5, 6, 8]
    assert queue.embeddings[:, 0].tolist() == queue.items.tolist()


def test_an_item_seen_again_is_held_once() -> None:
    queue = EmbeddingQueue(6, 2)
    push(queue, 1, 2, 3)
    push(queue, 2, 4)
    assert group_items(queue, 4, 9) == [1, 2, 3]
    assert group_items(queue, 2, 9) == [1, 3, 4]
    assert group_items(queue, 9, 2) == [2, 4]
    assert queue.items.tolist() == [1, EMPTY, 3, 2, 4, EMPTY]


def test_whom_an_anchor_may_not_meet_gives_way_to_an_older_one() -> None:
    queue = EmbeddingQueue(6, 2)
    push(queue, 1, 2, 3, 4)
    strangers = torch.ones(2, 6, dtype=torch.bool)
    strangers[0] = ~torch.isin(queue.items, torch.tensor([3, 4]))
    members = queue.group(strangers, 2)
    assert [sorted(queue.items[row].tolist()) for row in members] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("group_size", "batch_size"), [(2, 1), (8, 8), (5, 3), (32, 16)])
def test_group_size_and_batch_size_together_are_queue_enough(
    group_size: int, batch_size: int
) -> None:
    queue = EmbeddingQueue(group_size + batch_size, 1)
    for step in range(100):
        items = torch.arange(batch_size) + step * batch_size
        queue.push(items[:, None].float(), items)
        members = queue.group(queue.items != items[:, None], group_size)
        assert not (members & (queue.items == items[:, None])).any()
        held = min(group_size, step * batch_size + batch_size - 1)
        assert members.sum(dim=1).tolist() == [held] * batch_size


def test_a_state_dict_restores_the_queue_exactly() -> None:
    queue, restored = EmbeddingQueue(5, 2), EmbeddingQueue(5, 2)
    push(queue, 1, 2, 3)
    push(queue, 4, 5, 6)
    restored.load_state_dict(queue.state_dict())
    for each in (queue, restored):
        push(each, 7, 2)
    assert torch.equal(queue.items, restored.items)
    assert torch.equal(queue.embeddings, restored.embeddings)
    assert group_items(queue, 7, 3) == group_items(restored, 7, 3)


def test_more_than_the_queue_holds_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="3 embeddings pushed into a queue of 2"):
        push(EmbeddingQueue(2, 2), 1, 2, 3)
