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
        ("?ri=1&v=P-tyFM-4_0s1", "P-tyFM-4_0s1", (None, None)),
        ("https://m.youtube.com/watch?a=b&v=cdRrn_xsxqc", "cdRrn_xsxqc", (None, None)),
        ("https://www.youtube.com/watch?v=cdRrn_xsxqc&t=3", "cdRrn_xsxqc", (None, None)),
        ("//youtube.com/embed/cdRrn_xsxqc?start=60&end=75", "cdRrn_xsxqc", (60.0, 75.0)),
        ("https://youtu.be/cdRrn_xsxqc", "cdRrn_xsxqc", (None, None)),
    ],
)
def test_links(link: str, video_id: str, bounds: tuple[float | None, float | None]) -> None:
    found = from_link(link, "https://www.earsense.org/chamber-music/x/")
    assert isinstance(found, Reference)
    assert (found.video_id, (found.start_s, found.end_s)) == (video_id, bounds)
    assert found.youtube_id == video_id[:11]


@pytest.mark.parametrize(
    "link",
    [
        *("/watch?v=short", "/watch?v=cdRrn_xsxqc123", "/x", "?ri=3"),
        "/style.css?v=202001011230",
        "/chamber-music/another/?v=P-tyFM-4_0s1",
        "https://notyoutube.com/x?v=cdRrn_xsxqc",
        "//[x?v=cdRrn_xsxqc",
    ],
)
def test_no_links(link: str) -> None:
    assert from_link(link, "/chamber-music/x/") is None


@pytest.mark.parametrize(
    "named",
    [
        '<header id="page-header" class="page-header">',
        '<label for="description" id="description1">',
        '<p data-one="breadcrumbs" data-two="breadcrumbs">',
        """<a onclick="go('description', 'description')">""",
        '<a id="recording-1" name="recording-1" data-start="5">',
        '<a data-x="recording-1" name="recording-12" data-start="x">',
    ],
)
def test_the_names_of_a_page_are_no_videos(named: str) -> None:
    link = "<a href='https://youtu.be/bbbbbbbbbbb'>x</a>"
    assert [found.video_id for found in references(tree(named + link))] == ["bbbbbbbbbbb"]


SCRIPT = json.dumps([{"id": "-25ADaXTKOs", "by": "x " * 150, "vid": "-25ADaXTKOs12", "next": None}])


@pytest.mark.parametrize(
    "script",
    [
        f"x = {SCRIPT}",
        f"x = JSON.parse({json.dumps(SCRIPT)})",
        f"x = JSON.parse('{SCRIPT}')",
        "x = JSON.parse(" + json.dumps(json.dumps(SCRIPT)) + ")",
        "x = JSON.parse('" + SCRIPT.replace('"', "\\u0022").replace("-", "\\u002D") + "')",
    ],
)
def test_a_script_may_be_wide_or_within_a_text(script: str) -> None:
    (found,) = references(tree(f"<script>{script}</script>"))
    assert (found.video_id, found.movement, found.following) == ("-25ADaXTKOs12", 12, None)


ONE_VIDEO = {
    "link": "<li><a href='https://www.youtube.com/embed/aaaaaaaaaaa?start={0}&end={1}'>",
    "call": "<li onclick=\"go('aaaaaaaaaaa', 'aaaaaaaaaaa', '', '', {0}, {1})\">",
    "data": "<li id=description data-id=aaaaaaaaaaa data-start={0} data-end={1}>"
    "<img src='//i.ytimg.com/vi/aaaaaaaaaaa/1.jpg'><a href='//youtu.be/aaaaaaaaaaa'>",
}


@pytest.mark.parametrize("carrier", ONE_VIDEO)
def test_one_video_may_hold_every_movement(carrier: str) -> None:
    bounds = [(0, 90), (100, 190), (200, 290)]
    rows = tree("".join(ONE_VIDEO[carrier].format(*bound) + "</a></li>" for bound in bounds))
    known = [from_element(element) for element in rows]
    found = references(rows) if carrier != "data" else known
    for refs in (known, found):
        assert [(ref.start_s or 0, ref.end_s) for ref in refs if ref] == bounds


def test_a_movement_beside_a_lone_id_is_part_of_its_key() -> None:
    row = "<p data-video=aaaaaaaaaaa data-movement={} data-next=aaaaaaaaaaa2 data-start=5>"
    found = from_element(tree(row.format(1)))
    assert found and (found.video_id, found.movement, found.start_s) == ("aaaaaaaaaaa1", 1, 5.0)
    found = from_element(tree("<a onclick=\"go('aaaaaaaaaaa', 3, 60, 120)\">"))
    assert found and (found.video_id, found.start_s, found.end_s) == ("aaaaaaaaaaa3", 60, 120)


def test_a_thumbnail_is_the_last_resort() -> None:
    thumbnail = "<img src='https://i.ytimg.com/vi/ccccccccccc/default.jpg'>"
    assert [found.video_id for found in references(tree(thumbnail))] == ["ccccccccccc"]
    link = "<a href='https://youtu.be/bbbbbbbbbbb'>x</a>"
    assert [found.video_id for found in references(tree(thumbnail + link))] == ["bbbbbbbbbbb"]


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
