"""Controls against what their definitions demand."""

import pytest

from crawler.errors import UserError
from dataset.pairs import Pair
from model.controls import (
    audio_swap,
    most_frequent_text,
    random_training_texts,
    same_movement_texts,
)


def pair(caption: str, *movements: int) -> Pair:
    """A pair of which only the text and its movements matter."""
    return Pair(
        pair_id=f"{caption}{movements}", work_id="w", level="movement", movements=movements,
        recording_id="r", caption=caption, caption_raw=caption, note_source="own", text_index=0,
        num_words=1, num_tokens=1, align_method="test", align_score=1.0, composer="c", title="t",
        source_url="http://127.0.0.1/", bounds_source="page", page_url="http://127.0.0.1/",
        text_rights="CC0", audio_rights="CC0",
    )  # fmt: skip


TRAINING = [pair("one", 1), pair("two", 2), pair("two", 2), pair("slow", 2), pair("both", 2, 3)]
TEXTS = {"one", "two", "slow", "both"}


def test_random_texts_are_training_texts_and_depend_on_the_seed_alone() -> None:
    texts = random_training_texts(TRAINING, 200, seed=3)
    assert texts == random_training_texts(TRAINING, 200, seed=3)
    assert texts != random_training_texts(TRAINING, 200, seed=4)
    assert set(texts) == TEXTS


def test_most_frequent_text_counts_pairs_and_breaks_ties_by_alphabet() -> None:
    assert most_frequent_text(TRAINING, 2) == ["two", "two"]
    assert most_frequent_text([pair("b", 1), pair("a", 1)], 1) == ["a"]


def test_same_movement_texts_have_the_same_movements_where_there_are_any() -> None:
    texts = same_movement_texts(TRAINING, [(1,), (2, 3)] * 20 + [(2,)] * 50, seed=0)
    assert texts[:40] == ["one", "both"] * 20
    assert set(texts[40:]) == {"two", "slow"}
    assert set(same_movement_texts(TRAINING, [(9,)] * 100, seed=0)) == TEXTS


@pytest.mark.parametrize("num_clips", [2, 3, 4, 7])
def test_audio_swap_is_a_permutation_that_leaves_no_clip_its_own_audio(num_clips: int) -> None:
    orders = {tuple(audio_swap(num_clips, seed)) for seed in range(60)}
    for order in orders:
        assert sorted(order) == list(range(num_clips))
        assert all(other != clip for clip, other in enumerate(order))
    assert len(orders) == {2: 1, 3: 2, 4: 6}.get(num_clips, len(orders))  # (n - 1)! cycles


def test_audio_swap_needs_two_clips() -> None:
    with pytest.raises(UserError, match="two or more"):
        audio_swap(1, seed=0)
