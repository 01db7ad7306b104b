"""What an update minimises: the settings choose the losses, and the queue's texts are the right."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
from small_model import SMALL

from model import objective
from model.config import LossConfig
from model.examples import Batch
from model.features import Spectrogram
from model.network import Captioner
from model.objective import Memory, batch_losses, needs_memory, weighted_sum

CAPTIONS = [
    "The cello sings alone.",
    "The cello sings and the viola answers.",
    "A fast dance.",
    "A fast and loud dance of all four.",
    "All four end together.",
    "The viola answers alone.",
]
STRANGERS = torch.arange(len(CAPTIONS))[:, None].expand(-1, 2)  # no clip, no caption in common
OFF = dict.fromkeys(
    ("caption", "text_reconstruction", "music_reconstruction", "alignment", "topology"), 0.0
)


def only(**settings: Any) -> LossConfig:
    """The losses given a weight and no other; groups of 3 unless said otherwise."""
    return LossConfig(**{**OFF, "group_size": 3, **settings})


@pytest.fixture
def network() -> Captioner:
    torch.manual_seed(0)
    return Captioner(SMALL.model, SMALL.features).eval()


def batch(items: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(items[0])
    num_samples = torch.tensor([4000 + 500 * place for place in range(len(items))])
    waveform = torch.randn(len(items), int(num_samples[-1]), generator=generator) / 9
    waveform *= torch.arange(waveform.shape[1]) < num_samples[:, None]
    tokens = torch.randint(4, 200, (len(items), 7), generator=generator)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    return Batch(waveform, num_samples, tokens, mask, torch.tensor(items), STRANGERS[items])


def losses_of(network: Captioner, weights: LossConfig, memory: Memory | None = None) -> set[str]:
    return set(
        batch_losses(network, Spectrogram(SMALL.features), batch([2, 0, 4]), weights, memory, 1)
    )


@pytest.mark.parametrize(
    "name", ["caption", "text_reconstruction", "music_reconstruction", "alignment"]
)
def test_a_loss_is_computed_only_where_it_has_a_weight(network: Captioner, name: str) -> None:
    assert losses_of(network, only(**{name: 1.0})) == {name}


@pytest.mark.parametrize(
    ("form", "moved"),
    [("batch", {"music_encoder", "text_encoder"}), ("queue", {"music_encoder"})],
)
def test_topology_moves_the_sides_it_should(
    network: Captioner, form: str, moved: set[str], tmp_path: Path
) -> None:
    weights = only(topology=2.0, topology_form=form)
    config = dataclasses.replace(SMALL, loss=weights)
    memory = None
    if needs_memory(weights):
        memory = Memory(network, CAPTIONS, STRANGERS, config, tmp_path)
    assert (memory is None) == (form == "batch")
    spectrogram = Spectrogram(SMALL.features)
    losses = batch_losses(network, spectrogram, batch([2, 0, 4]), weights, memory, 1)
    total = weighted_sum(losses, weights)
    assert float(total.detach()) == pytest.approx(2 * float(losses["topology"].detach()))
    total.backward()
    with_gradient = {
        name.split(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert with_gradient == moved


def test_the_queue_form_equals_loops_over_the_items_seen(
    network: Captioner, tmp_path: Path
) -> None:
    """Music and texts of a group belong to the same items, and the anchor is not among them."""
    config = dataclasses.replace(SMALL, loss=only(topology=1.0, tau=5.0))
    memory = Memory(network, CAPTIONS, STRANGERS, config, tmp_path)
    spectrogram = Spectrogram(SMALL.features)
    seen: dict[int, torch.Tensor] = {}  # item -> newest embedding, oldest first
    for items in ([0, 1, 3], [5, 2], [4, 1, 0]):
        some = batch(items)
        loss = batch_losses(network, spectrogram, some, config.loss, memory, 1)["topology"]
        frames = spectrogram.num_frames(some.num_samples)
        codes = network.encode_music(spectrogram(some.waveform), frames).codes.detach()
        for item, code in zip(items, codes.flatten(1), strict=True):
            seen.pop(item, None)
            seen[item] = code
    rows = []
    for anchor, music in zip(items, codes.flatten(1), strict=True):
        group = [item for item in reversed(seen) if item != anchor][:3]
        cosine = [float(torch.cosine_similarity(music, seen[item], dim=0)) for item in group]
        bleu = [
            sacrebleu.sentence_bleu(CAPTIONS[anchor], [CAPTIONS[item]]).score / 100
            for item in group
        ]
        p, q = softmax(cosine, 5.0), softmax(bleu, 5.0)
        rows.append(sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / 3)
    assert float(loss.detach()) == pytest.approx(sum(rows) / 3, rel=1e-3)


TWIN_CAPTIONS = [*CAPTIONS[:4], CAPTIONS[0], "A remark on the first one's clip."]
TWINS = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3], [4, 0], [0, 5]])  # 4 says what 0 says


@pytest.mark.parametrize("released", [False, True])
def test_no_target_exceeds_what_the_other_texts_give(
    network: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, released: bool
) -> None:
    """Only the released behaviour lets a text of the anchor's clip or an equal one drown all."""
    weights = only(topology=1.0, group_size=6, released_behaviour=released)
    config = dataclasses.replace(SMALL, loss=weights)
    memory = Memory(network, TWIN_CAPTIONS, TWINS, config, tmp_path)
    seen: list[torch.Tensor] = []

    def spy(music: torch.Tensor, *given: torch.Tensor, **settings: object) -> torch.Tensor:
        seen.extend(given)
        return music.sum()

    monkeypatch.setattr(objective, "gtp_queue_loss", spy)
    batch_losses(
        network, Spectrogram(SMALL.features), batch([0, 1, 2, 3, 4, 5]), weights, memory, 1
    )
    _, similarity, members = seen
    group = [sorted(memory.queue.items[row].tolist()) for row in members]
    if released:
        assert group == [[0, 1, 2, 3, 4, 5]] * 6
        assert all(similarity[at][members[at]].max() == pytest.approx(1) for at in range(6))
        return
    assert group == [
        [1, 2, 3], [0, 2, 3, 4, 5], [0, 1, 3, 4, 5], [0, 1, 2, 4, 5], [1, 2, 3, 5], [1, 2, 3, 4],
    ]  # fmt: skip
    for anchor in range(6):
        others = [
            sacrebleu.sentence_bleu(TWIN_CAPTIONS[anchor], [text]).score / 100
            for place, text in enumerate(TWIN_CAPTIONS)
            if text != TWIN_CAPTIONS[anchor] and {anchor, place} != {0, 5}
        ]
        allowed = similarity[anchor][members[anchor]]
        assert float(allowed.max()) == pytest.approx(max(others), abs=1e-6)
        assert max(others) < 0.5


def test_the_batch_form_leaves_kin_out(network: Captioner) -> None:
    """Rows that share a clip or a text stand to the strangers alone, as loops over them say."""
    weights = only(topology=1.0, topology_form="batch", divergence="kl")
    some = dataclasses.replace(batch([0, 1, 2, 3, 4, 5]), kin=TWINS)
    spectrogram = Spectrogram(SMALL.features)
    loss = batch_losses(network, spectrogram, some, weights, None, 1)["topology"]
    frames = spectrogram.num_frames(some.num_samples)
    music = network.encode_music(spectrogram(some.waveform), frames).codes.flatten(1)
    text = network.encode_text(some.tokens, some.token_mask).flatten(1)
    rows = []
    for anchor in range(6):
        kin = {0: {0, 4, 5}, 4: {0, 4}, 5: {0, 5}}.get(anchor, {anchor})
        p, q = (
            softmax(
                [float(torch.cosine_similarity(z[anchor], z[j], dim=0))
                 for j in range(6) if j not in kin], 1.0)
            for z in (music.detach(), text.detach())
        )  # fmt: skip
        rows.append(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2)
    assert float(loss.detach()) == pytest.approx(sum(rows) / 6, rel=1e-3)


def softmax(scores: list[float], tau: float) -> list[float]:
    powers = [math.exp(tau * score) for score in scores]
    return [power / sum(powers) for power in powers]
