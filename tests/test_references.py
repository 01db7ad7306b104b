"""Video references in every carrier, against what they hand to the player."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from lxml import html as lxml_html

from crawler.references import Reference, carried, from_element, from_link, literals, references


def tree(text: str) -> etree._Element:
    return lxml_html.fromstring(f"<div>{text}</div>")


CARRIERS = [
    "<li data-yt='-25ADaXTKOs' data-x='-25ADaXTKOs12' data-next='0' data-mov='12' data-start='5'"
    " data-end='6.5'>",
    """<b onclick="go(this, '-25ADaXTKOs', &quot;-25ADaXTKOs12&quot;, '0', 12, 5, 6.5)">x</b>""",
    '<script>var x = {\'no\': 1}; y = [{"id": "-25ADaXTKOs", "vid": "-25ADaXTKOs12", '
    '"next_video": "0", "movement_id": 12, "start": 5, "end": 6.5}]</script>',
    "<script>play('-25ADaXTKOs', '-25ADaXTKOs12', '0', 12, 5, 6.5)</script>",
    "<script>// don't\nplay('-25ADaXTKOs', '-25ADaXTKOs12', '0', 12, 5, 6.5, '4:59', "
    "'Mendelssohn, A Trio (live)', 'XII. Allegro')</script>",
    "<script>v = {video_id: '-25ADaXTKOs12', youtube_id: '-25ADaXTKOs', nextVideo: 0, "
    "movement: 12, startTime: 5, videoEnd: 6.5, by: ['x']}</script>",
    """<a href="javascript:go(['-25ADaXTKOs', '-25ADaXTKOs12', 0, 12, 5, 6.5])">x</a>""",
    """<i data-all='{"id": "-25ADaXTKOs", "v": "-25ADaXTKOs12", "next": "", "end": "6.5",
    "start": "5"}'></i>""",
    "<p end=6.5 next=0 start=5 class=\"x -25ADaXTKOs\" vid='-25ADaXTKOs12' id='-25ADaXTKOs'>",
]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_reference_is_known_by_its_shape(carrier: str) -> None:
    found = references(tree(carrier))
    assert [dataclasses.asdict(reference) for reference in found] == [
        {
            "youtube_id": "-25ADaXTKOs",
            "video_id": "-25ADaXTKOs12",
            "movement": 12,
            "start_s": 5.0,
            "end_s": 6.5,
            "following": "",
        }
    ]


@pytest.mark.parametrize(
    ("link", "video_id", "bounds"),
    [
        ("https://www.earsense.org/chamber-music/x/?v=P-tyFM-4_0s1", "P-tyFM-4_0s1", (None, None)),
        ("https://www.youtube.com/watch?v=cdRrn_xsxqc&t=3", "cdRrn_xsxqc", (None, None)),
        ("//youtube.com/embed/cdRrn_xsxqc?start=60&end=75", "cdRrn_xsxqc", (60.0, 75.0)),
        ("https://youtu.be/cdRrn_xsxqc", "cdRrn_xsxqc", (None, None)),
    ],
)
def test_links(link: str, video_id: str, bounds: tuple[float | None, float | None]) -> None:
    found = from_link(link)
    assert isinstance(found, Reference)
    assert (found.video_id, (found.start_s, found.end_s)) == (video_id, bounds)
    assert found.youtube_id == video_id[:11]


@pytest.mark.parametrize("link", ["/watch?v=short", "/watch?v=cdRrn_xsxqc123", "/x", "?ri=3"])
def test_no_links(link: str) -> None:
    assert from_link(link) is None


def test_the_next_video_is_never_taken_for_the_video() -> None:
    """Parts of one video: three values begin with its id, and only their names tell them apart."""
    values = {"next": "aaaaaaaaaaa2", "vid": "aaaaaaaaaaa1", "yt": "aaaaaaaaaaa", "start": "0",
              "end": "60"}  # fmt: skip
    for order in (list(values), list(values)[::-1], sorted(values)):
        carrier = " ".join(f"data-{name}='{values[name]}'" for name in order)
        (found,) = references(tree(f"<p {carrier}>"))
        assert (found.video_id, found.following) == ("aaaaaaaaaaa1", "aaaaaaaaaaa2")
        assert (found.start_s, found.end_s) == (0.0, 60.0)


def test_an_id_of_twelve_characters_offers_its_first_eleven(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (found,) = references(tree("<p data-yt='m5Xzl1LxkDk0' data-vid='m5Xzl1LxkDk01'>"))
    assert (found.youtube_id, found.video_id) == ("m5Xzl1LxkDk", "m5Xzl1LxkDk01")
    assert found.movement == 1
    assert "m5Xzl1LxkDk0 is no video id" in caplog.text


def test_each_video_once_and_links_only_where_nothing_tells_more() -> None:
    link = "<a href='https://www.youtube.com/watch?v=bbbbbbbbbbb'>x</a>"
    call = "<a onclick=\"go('aaaaaaaaaaa','aaaaaaaaaaa1')\">x</a>"
    assert [found.video_id for found in references(tree(link + call + call))] == ["aaaaaaaaaaa1"]
    assert [found.video_id for found in references(tree(link + link))] == ["bbbbbbbbbbb"]
    assert len(carried(tree(call + call))) == 2
    script = r"<script>x = ['https:\/\/youtu.be\/-bbbbbbbbb_']</script>"
    assert [found.video_id for found in references(tree(script))] == ["-bbbbbbbbb_"]


def test_an_element_known_to_carry_a_video_may_give_a_lone_id() -> None:
    lone = tree("<p data-video='aaaaaaaaaaa3'>x</p>")
    assert references(lone) == []
    found = from_element(lone)
    assert found and (found.youtube_id, found.movement) == ("aaaaaaaaaaa", 3)
    assert from_element(tree("<p class=row>nothing</p>")) is None


def test_an_end_before_the_start_is_no_end() -> None:
    (found,) = references(tree("<p onclick=\"go('aaaaaaaaaaa','aaaaaaaaaaa1','0',1,856,0)\">"))
    assert (found.start_s, found.end_s) == (856.0, None)
    (found,) = references(tree("<p onclick=\"go('aaaaaaaaaaa','aaaaaaaaaaa1','0',1,60,50)\">"))
    assert (found.start_s, found.end_s) == (60.0, None)


plain = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=8
).map(str.strip)
values = st.recursive(
    st.one_of(plain, st.integers(0, 99)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(plain, inner, max_size=3)),
    max_leaves=8,
)


@settings(derandomize=True, max_examples=80, deadline=None, database=None)
@given(st.dictionaries(plain, plain, min_size=1, max_size=5), values)
def test_an_object_in_a_script_keeps_its_values_together(
    flat: dict[str, str], around: object
) -> None:
    script = f"var x = {json.dumps([around, flat, around], ensure_ascii=False)};"
    assert list(flat.items()) in list(literals(script))


@settings(derandomize=True, max_examples=80, deadline=None, database=None)
@given(st.text(max_size=60))
def test_no_script_is_too_odd(text: str) -> None:
    assert all(isinstance(item, tuple) for found in literals(text) for item in found)
