"""What in a sentence points to which movement."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.evidence import KINDS, ROLES, Mention, mentions, movements_of, role, several

NAMES = ("Allegro con brio", "Andante cantabile", "Menuetto. Allegretto", "Finale. Presto")


def found(sentence: str, names: tuple[str, ...] = NAMES) -> list[Mention]:
    return mentions(sentence, movements_of(names))


def pointed(sentence: str, names: tuple[str, ...] = NAMES) -> set[tuple[str, tuple[int, ...]]]:
    return {(one.kind, one.movements) for one in found(sentence, names) if not one.aside}


@pytest.mark.parametrize(
    ("sentence", "kind", "movements"),
    [
        ("The second movement is calm.", "ordinal", (2,)),
        ("The lively, rather short third movement is a dance.", "ordinal", (3,)),
        ("The 2nd movement is calm.", "ordinal", (2,)),
        ("The 4th movement is loud.", "ordinal", (4,)),
        ("The forth movement is loud.", "ordinal", (4,)),
        ("The opening movement is bold.", "ordinal", (1,)),
        ("The concluding movement is loud.", "ordinal", (4,)),
        ("The penultimate movement is a dance.", "ordinal", (3,)),
        ("The opening Allegro is bold.", "ordinal_tempo", (1,)),
        ("The last movement is loud.", "ordinal", (4,)),
        ("The Finale is loud.", "finale", (4,)),
        ("The slow movement sings.", "slow", (2,)),
        ("The very slow second piece sings.", "ordinal", (2,)),
        ("The middle movements are left out, but the middle movement sings.", "middle", (2, 3)),
        ("The third is a dance.", "bare", (3,)),
        ("The fourth dons the mutes.", "fourth", (4,)),
        ("The Menuetto comes second.", "placed", (2,)),
        ("It ties the first movement to the calm second.", "ordinal", (2,)),
        ("The Andante sings.", "tempo_word", (2,)),
        ("The Minuet is rough.", "form_word", (3,)),
        ("This cantabile never ends.", "other_word", (2,)),
        ("The title Andante Cantabile says it all.", "phrase", (2,)),
        ("The work opens in unison.", "opens", (1,)),
        ("The work ends in unison.", "closes", (4,)),
    ],
)
def test_a_mention_has_a_kind(sentence: str, kind: str, movements: tuple[int, ...]) -> None:
    assert (kind, movements) in pointed(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "The second violin enters.",
        "The second theme of the movement is shy.",
        "A first subject and a second one are all there is.",
        "The third time it is loud.",
        "It is heard a fourth higher.",
        "It goes on and on.",
        "",
    ],
)
def test_other_ordinals_point_nowhere(sentence: str) -> None:
    assert [one for one in found(sentence) if one.kind in ("ordinal", "bare", "fourth")] == []


def test_a_penultimate_movement_is_that_of_the_work() -> None:
    assert pointed("The penultimate movement sings.", NAMES[:3]) >= {("ordinal", (2,))}
    assert pointed("The penultimate movement sings.", NAMES[:1]) == set()


def test_a_middle_movement_is_neither_the_first_nor_the_last() -> None:
    assert ("middle", (2,)) in pointed("The middle movement sings.", ("Allegro", "", "Presto"))
    assert pointed("The middle movement sings.", ("Allegro", "Presto")) == set()


@pytest.mark.parametrize(
    ("names", "slow"),
    [
        (("Allegro", "Scherzo", "Adagio", "Presto"), (3,)),
        (("Adagio", "Allegro", "Largo", "Presto"), (1, 3)),
        (("Allegro", "Romanze", "Presto"), (2,)),  # a song, where nothing is slow
        (("Allegro", "", "", "Presto"), (2, 3)),
    ],
)
def test_the_slow_movement_is_found_by_the_names(
    names: tuple[str, ...], slow: tuple[int, ...]
) -> None:
    assert ("slow", slow) in pointed("The slow movement sings.", names)


@pytest.mark.parametrize(
    "sentence",
    [
        "It is calmer than the first movement.",
        "Like the first movement, it is broad.",
        "The theme recalls that of the first movement.",
        "It returns to the first movement.",
        "In contrast to the first movement it is calm.",
        "If the first movement was broad, this is short.",
        "While the first movement shouts, this one whispers.",
    ],
)
def test_what_is_only_compared_is_an_aside(sentence: str) -> None:
    ordinal = [one for one in found(sentence) if one.kind == "ordinal"]
    assert [(one.movements, one.aside) for one in ordinal] == [((1,), True)]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("The ", "subject"),
        ("This is followed by the ", "introduced"),
        ("Then the music leads straight into the ", "introduced"),
        ("In the middle of the ", "oblique"),
        ("A song that everybody in the town had known by heart for years ends the ", "other"),
        (
            "A tune which all the town had sung from memory for years softens the end of the ",
            "oblique_late",
        ),
    ],
)
def test_a_mention_has_a_role(before: str, expected: str) -> None:
    assert role(before[-90:], len(before)) == expected
    [one] = [one for one in found(f"{before}finale.") if one.kind == "finale"]
    assert one.role == expected


@pytest.mark.parametrize(
    ("sentence", "last", "movements"),
    [
        ("The last two movements are joined.", 4, (3, 4)),
        ("The first two movements are joined.", 4, (1, 2)),
        ("The last three movements are joined.", 5, (3, 4, 5)),
        ("The second and third movements are songs.", 4, (2, 3)),
        ("The third and the fourth movements are songs.", 4, (3, 4)),
        ("The first to third movements are songs.", 4, (1, 2, 3)),
        ("The first through the last movements are songs.", 3, (1, 2, 3)),
        ("The inner movements are songs.", 5, (2, 3, 4)),
        ("The two middle movements are songs.", 4, (2, 3)),
        ("The middle two movements are songs.", 4, (2, 3)),
        ("The third and fourth movements are songs.", 3, ()),  # only one of them is there
        ("The inner movements are songs.", 3, ()),
        ("The first and last movements are loud.", 4, ()),  # no neighbours
        ("The first and last movements are loud.", 2, (1, 2)),
        ("The second and fourth movements are loud.", 4, ()),
        ("Like the last two movements, it is loud.", 4, ()),
        ("It ties the bold first movement to the calm second.", 4, (1, 2)),
        ("It ties the bold slow movement to the calm second.", 4, ()),
        ("It ties the first movement to the second violin.", 4, ()),
        ("The last two movements are joined.", 1, ()),
        ("The last two movements are joined.", 0, ()),
        ("All movements are loud.", 4, ()),
        ("The last movement has two themes.", 4, ()),
    ],
)
def test_movements_spoken_of_together(sentence: str, last: int, movements: tuple[int, ...]) -> None:
    assert several(sentence, last) == movements


def test_a_plural_points_to_each_of_its_movements() -> None:
    assert ("ordinal", (2, 3)) in pointed("The second and third movements are songs.")
    assert pointed("Like the second and third movements, it is brief.") == set()


def test_names_with_holes_leave_the_places() -> None:
    names = ("", "Andante", "", "")
    assert pointed("The finale is loud.", names) == {("finale", (4,))}
    assert ("tempo_word", (2,)) in pointed("The Andante sings.", names)
    assert pointed("The first movement is bold.", ("",) * 3) == {("ordinal", (1,))}
    assert found("The Andante of the first movement is loud.", ()) == []


def test_a_word_that_two_names_have_points_to_both_and_one_of_all_to_none() -> None:
    two = ("Allegro", "Andante", "Allegro")
    assert ("tempo_word", (1, 3)) in pointed("The Allegro is bold.", two)
    every = ("Allegro", "Allegro molto")
    assert [one for one in found("The Allegro is bold.", every) if one.kind == "tempo_word"] == []


SENTENCES = st.lists(
    st.sampled_from(
        "The first second twelfth forth 8th last two and movement movements finale slow middle "
        "inner penultimate Allegro Andante scherzo like than from , . opens work fifth is comes "
        "rondo largo 音 \0".split(" ")
    ),
    max_size=25,
).map(" ".join)


@given(
    SENTENCES | st.text(max_size=80),
    st.lists(st.sampled_from((*NAMES, "", "音", "\0")), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_no_mention_is_beyond_the_work(sentence: str, names: list[str]) -> None:
    work = movements_of(tuple(names))
    for one in mentions(sentence, work):
        assert one.movements and set(one.movements) <= set(range(1, len(names) + 1))
        assert one.kind in KINDS and one.role in ROLES and 0 < one.weight <= 1
        assert one.text and 0 <= one.start < len(sentence)
    together = several(sentence, len(names))
    assert set(together) <= set(range(1, len(names) + 1)) and len(together) != 1


@pytest.mark.parametrize(
    ("sentence", "names", "movement"),
    [
        ("The second Allegro is a hunt.", ("Allegro", "Adagio", "Allegro"), 3),
        ("The second, Allegro, is a hunt.", ("Adagio", "Allegro", "Allegro"), 2),
        ("The second Allegro is a hunt.", ("Adagio", "Allegro", "Allegro"), 2),
        ("The second part is a hunt.", ("Prima parte", "Seconda parte"), 2),
        ("Although the finale has no tempo, it is lively.", ("Adagio", "Menuet", "Finale"), 3),
        ("She ends her second quartet with a dance.", ("Adagio", "Menuet", "Presto"), 3),
        ("The Air sings.", ("Presto", "Air", "Gigue"), 2),
        ("A Saraband strides.", ("Presto", "Sarabande", "Gigue"), 2),
        ("The Jig runs.", ("Presto", "Air", "Gigue"), 3),
    ],
)
def test_a_movement_is_told_by_how_it_is_counted_and_called(
    sentence: str, names: tuple[str, ...], movement: int
) -> None:
    told = [one for one in mentions(sentence, movements_of(names)) if not one.aside]
    assert (movement,) in {one.movements for one in told if one.kind != "weak_word"}
    assert all(movement in one.movements for one in told)


def test_parts_are_movements_only_where_they_are_called_so() -> None:
    assert not mentions("The second part is a hunt.", movements_of(("Moderato", "Presto")))
