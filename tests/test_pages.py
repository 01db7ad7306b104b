"""Pages against the works they were made from, a page written by hand, and broken ones."""

import dataclasses
from pathlib import Path

import pytest
from lxml import html as lxml_html
from page_markups import MARKUPS as INVENTED
from page_markups import fixtures, page

from crawler.articles import ArticlePage
from crawler.errors import UserError
from crawler.grammar import Counts
from crawler.items import Movement, Note, Person, Work, read_works, work_to_dict
from crawler.pages import DEFAULT, PageError, WorkPage, read_selectors
from crawler.visible import text_lines
from demo.markup import MARKUPS, render_article, render_work

FIXTURE = Path(__file__).parent / "fixtures" / "site"
DEMO = Path(__file__).parent.parent / "data" / "demo"
WORKS = [*read_works(FIXTURE / "works.jsonl"), *read_works(DEMO / "works.jsonl")]
FIELDS = {"composer", "title", "key", "opus", "catalogue", "instrumentation", "movements", "facts",
          "recordings", "notes", "related"}  # fmt: skip
BESIDE = {"list", "dates", "nationality", "born", "died", "counts", "videos"}  # no field of a Work


@pytest.mark.parametrize("markup", MARKUPS)
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.work_id[:30])
def test_a_rendered_work_reads_back_as_itself(work: Work, markup: str) -> None:
    page = WorkPage(render_work(work, markup), work.page_url, video_url="/watch?v={id}")
    assert work_to_dict(page.work()) == work_to_dict(work)
    method = "selector" if markup == "list" else "text"
    coverage = page.coverage()
    assert set(coverage) == FIELDS | BESIDE
    assert coverage.pop("videos") == ("shape" if work.recordings else None)
    assert set(coverage.values()) <= {method, None}
    present = {name for name in FIELDS if getattr(work, name)}
    assert {name for name in FIELDS if coverage[name]} == present


@pytest.mark.parametrize("markup", INVENTED)
@pytest.mark.parametrize(("folder", "work", "traps"), [*fixtures()], ids=lambda x: str(x)[-30:])
def test_three_markups_give_the_identical_work(
    folder: Path, work: Work, traps: dict[str, object], markup: str
) -> None:
    text = (folder / f"{markup}.html").read_text(encoding="utf-8")
    assert "invented markup" in text
    assert text == page(work, traps, markup), "python tests/page_markups.py writes it anew"
    found = WorkPage(text, work.page_url)
    assert work_to_dict(found.work()) == work_to_dict(work)
    listed, context = traps.get("list"), {item.name: item.value for item in found.fields()}["list"]
    assert listed == (context and [context.title, context.place, context.total])


def test_one_data_file_fits_the_selectors_to_another_markup(tmp_path: Path) -> None:
    folder, work, _ = next(item for item in fixtures() if "Ravel" in item[0].name)
    selectors = dataclasses.replace(
        DEFAULT,
        work={
            "list": ".k-list", "composer": ".k-who", "title": ".k-title",
            "instrumentation": ".k-for", "movements": ".k-mov", "facts": ".k-facts",
            "counts": ".k-count", "recordings": ".k-rows > li", "videos": ".k-rows > li",
            "notes": ".k-note", "related": ".k-rel > li",
        },
    )  # fmt: skip
    found = WorkPage((folder / "lists.html").read_text(), work.page_url, selectors=selectors)
    assert found.work() == work
    missing = {"opus", "catalogue"}  # the title has none
    assert {name for name, how in found.coverage().items() if how != "selector"} == missing


@pytest.mark.parametrize(
    ("field", "markup", "expected"),
    [
        ("movements", "<ol><li>Allegro<li>8:10 Adagio</ol>",
         (Movement(number=1, name="Allegro"), Movement(number=2, name="Adagio", typical_s=490))),
        ("facts", "<dl><dt>Duration<dd>39 minutes<dt>Composed<dd>1867</dl>",
         {"Duration": "39 minutes", "Composed": "1867"}),
        ("instrumentation", "for violin and cello", "violin and cello"),
        ("counts", "<b>Recordings: 1</b> <b>Videos: 4</b>", Counts(1, 4)),
        ("composer", "Anna Muster", Person(name="Anna Muster")),
        ("notes", "<p>He wrote it in Bonn.<p>It is fiery.",
         (Note(source="earsense", text="He wrote it in Bonn.\n\nIt is fiery."),)),
    ],
)  # fmt: skip
def test_a_right_selector_finds_a_field_in_any_form(
    field: str, markup: str, expected: object
) -> None:
    selectors = dataclasses.replace(DEFAULT, work={**DEFAULT.work, field: ".it"})
    html = f"<p>x</p><p>1801~1850</p><h1 class=title>Trio</h1><div class=it>{markup}</div>"
    found = {item.name: item for item in WorkPage(html, "x", selectors=selectors).fields()}
    assert (found[field].value, found[field].method) == (expected, "selector")


@pytest.mark.parametrize("name", sorted(set(DEFAULT.work) - {"title", "related"}))
@pytest.mark.parametrize("css", ["", "b.nowhere", "nav"])
def test_one_wrong_selector_costs_one_field_its_method(name: str, css: str) -> None:
    folder, work, _ = next(item for item in fixtures() if "Suk" in item[0].name)
    wrong = dataclasses.replace(DEFAULT, work={**DEFAULT.work, name: css})
    found = WorkPage((folder / "lists.html").read_text(), work.page_url, selectors=wrong)
    assert found.work() == work
    field = next(item for item in found.fields() if item.name == name)
    assert field.method in ("text", "shape", None)
    assert field.tried[0].startswith((f"selector {css!r}: ", "selector: none given"))


# The lines are our own; their order, labels and irregularities are those of stored copies.
BY_HAND = """
<html><head><title>x</title></head><body><p>glossary</p><p>Chamber Music Examples</p><p>2 of 450</p>
<p>Georg Muster</p><p>Georg Muster (c. 1750-1801)</p><p>Nationality: German</p>
<p>Born: c. 1750, FuldaDied: August 12, 1801, Berlin (age 50)</p>
<p>Trio in c minor, Op.&nbsp;3, Trois Trios, Livre I, No. 1</p><p>(for flute, viola and cello)</p>
<p>2:34</p><p>I.</p><p>Cantilena. Andante</p><p>11:33 II. Adagio</p><p>III. Rondo</p>
<p>Composed:</p><p>1799 (age 48-49)</p><p>Published: 1801, Leipzig: Muster (age 50)</p>
<p>Note: the inner movements</p><p>are exchanged in some editions.</p>
<p>3 recordings, 6 videos</p><p>autoopen autoplay</p>
<p>8:30</p><p>Muster Trio (live)</p><p>I. Cantilena. Andante</p>
<p>1:08:10</p><p>Muster Trio (live)</p><p>II. Adagio</p>
<p>27:40</p><p>A. One (flute), B. Two et. al. (complete with score)</p>
<p>9:10</p><p>Third Trio</p><p>I. Cantilena. Andante</p>
<p>4:24</p><p>Third Trio</p><p>I. Cantilena. Andante</p>
<p>5:00</p><p>Third Trio</p><p>III. Rondo</p>
<p>From Example Notes</p><p>The trio is short.<br>From its first bar it sings.</p>
<p>© Example Notes. Used by permission. All rights reserved.</p><p>print this page</p>
<p>From Another Writer</p><p>A second note.</p>
<p>Related Composers</p><p>Carl Lehrer</p><p>Born: 1720Died: 1790 (age 70)</p><p>Anna Muster</p>
<p>glossary</p><p>rondo [I]—a round. explore | wiki</p>
<script>
load(['aaaaaaaaaaa','aaaaaaaaaaa1','bbbbbbbbbb12',1,0,0]);
load(['bbbbbbbbbb1','bbbbbbbbbb12','0',2,60,0]);
load(['ccccccccccc','ccccccccccc0','0',0,0,0]);
load(['-dddddddddd','-dddddddddd1','-dddddddddd2',1,0,550]);
load(['-dddddddddd','-dddddddddd2','eeeeeeeeeee3',2,551,815]);
load(['eeeeeeeeeee','eeeeeeeeeee3','0',3,0,0]);
</script></body></html>
"""


def test_a_page_written_by_hand() -> None:
    work = WorkPage(BY_HAND, "/chamber-music/Georg-Muster-Trio/").work()
    composer = work.composer
    assert (composer.name, composer.birth_year, composer.death_year) == ("Georg Muster", 1750, 1801)
    assert (composer.born, composer.died) == ("c. 1750, Fulda", "August 12, 1801, Berlin")
    assert work.title == "Trio in c minor, Op. 3, Trois Trios, Livre I, No. 1"
    assert (work.key, work.opus) == ("c minor", "Op. 3")
    assert work.instrumentation == "flute, viola and cello"
    assert work.movements == (
        Movement(number=1, name="Cantilena. Andante", typical_s=154),
        Movement(number=2, name="Adagio", typical_s=693),
        Movement(number=3, name="Rondo"),
    )
    assert work.facts == {
        "Composed": "1799 (age 48-49)",
        "Published": "1801, Leipzig: Muster (age 50)",
        "Note": "the inner movements are exchanged in some editions.",
    }
    assert [note.source for note in work.notes] == ["Example Notes", "Another Writer"]
    assert work.notes[0].text == "The trio is short.\n\nFrom its first bar it sings."
    assert work.notes[0].credit == "© Example Notes. Used by permission. All rights reserved."
    assert (work.notes[1].text, work.notes[1].credit) == ("A second note.", None)
    assert work.related == ("Carl Lehrer", "Anna Muster")


def test_recordings_of_a_page_written_by_hand() -> None:
    first, whole, third = WorkPage(BY_HAND, "Georg-Muster-Trio").work().recordings
    assert (first.performers, first.qualifiers) == (("Muster Trio",), ("live",))
    assert [(part.video_id, part.movement) for part in first.parts] == [
        ("aaaaaaaaaaa1", 1),
        ("bbbbbbbbbb12", 2),
    ]
    assert [(part.start_s, part.end_s) for part in first.parts] == [(None, None), (60.0, None)]
    assert first.parts[1].duration_s == 4090.0
    assert whole.performers == ("A. One (flute)", "B. Two et. al.")
    assert whole.qualifiers == ("complete with score",)
    assert [(part.movement, part.name) for part in whole.parts] == [(0, "")]
    assert [part.movement for part in third.parts] == [1, 2, 3]
    assert [part.name for part in third.parts] == ["Cantilena. Andante"] * 2 + ["Rondo"]
    assert (third.parts[0].start_s, third.parts[0].end_s) == (0.0, 550.0)
    assert third.parts[0].url == "https://www.youtube.com/watch?v=-dddddddddd"


def test_rows_without_times_and_without_a_chain_part_by_performers() -> None:
    rows = "".join(
        f"<tr><td>{who}</td><td>{name}</td><td><a href='/watch?v={video}'>play</a></td></tr>"
        for who, name, video in [
            ("A Trio", "I. Allegro", "aaaaaaaaaa11"),
            ("A Trio", "II. Rondo", "aaaaaaaaaa22"),
            ("A Trio", "I. Allegro", "bbbbbbbbbb11"),
            ("B Trio", "II. Rondo", "cccccccccc12"),
        ]
    ).replace(">play<", "><")
    page = f"""<p>A B (1900-1980)</p><p>Trio</p><p>(for trio)</p><p>I. Allegro</p><p>II. Rondo</p>
        <p>3 recordings, 4 videos</p><table>{rows}</table>"""
    found = WorkPage(page, "A-B-Trio").work().recordings
    assert [[part.video_id for part in item.parts] for item in found] == [
        ["aaaaaaaaaa11", "aaaaaaaaaa22"],
        ["bbbbbbbbbb11"],
        ["cccccccccc12"],
    ]


@pytest.mark.parametrize("tag", ["p", "span"])
def test_one_video_with_bounds_and_rows_without_white_space(tag: str) -> None:
    names = ["I. Allegro con brio", "II. Adagio", "III. Rondo"]
    rows = "".join(
        f"<div><iframe src='//youtube.com/embed/aaaaaaaaaaa?start={200 * n}&end={200 * n + 180}'>"
        f"</iframe><{tag}>3:00</{tag}><{tag}>A Trio</{tag}><{tag}>{name}</{tag}></div>"
        for n, name in enumerate(names)
    )
    page = f"""<p>A B (1900-1980)</p><p>Trio</p><p>(for trio)</p><p>I. Allegro</p><p>II. Adagio</p>
        <p>1 recording, 3 videos</p>{rows}<h2>Related Composers</h2>"""
    (found,) = WorkPage(page, "A-B-Trio").work().recordings
    assert (found.recording_id, found.performers) == ("aaaaaaaaaaa1", ("A Trio",))
    assert [(part.video_id, part.start_s, part.end_s, part.name) for part in found.parts] == [
        ("aaaaaaaaaaa1", 0.0, 180.0, "Allegro con brio"),
        ("aaaaaaaaaaa2", 200.0, 380.0, "Adagio"),
        ("aaaaaaaaaaa3", 400.0, 580.0, "Rondo"),
    ]


def test_rows_that_do_not_fit_their_videos_lend_them_no_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = BY_HAND.replace("<p>27:40</p>", "<p>27:40</p><p>28:40</p>")
    page = WorkPage(text, "Georg-Muster-Trio")
    work = page.work()
    assert "7 rows but 6 videos" in caplog.text
    assert page.coverage()["recordings"] is None
    assert [part.video_id for item in work.recordings for part in item.parts][2] == "ccccccccccc0"
    assert {item.performers for item in work.recordings} == {()}


def test_text_lines_break_at_blocks_only() -> None:
    root = lxml_html.fromstring(
        "<div>a <b>b</b><i>c</i>\n d<!-- no -->e<br>f<p>g</p>h<script>no</script>i"
        "<table><tr><td>j</td><td>k</td></tr></table> l&nbsp;m </div>"
        "<p><dfn>n</dfn>o <del>p</del> <any>q</any> <img>r\x01</p><x-row>s</x-row>"
    )
    assert text_lines(root) == ["a bc de", "f", "g", "hi", "j", "k", "l m", "no p q r", "s"]


BROKEN = {
    "empty": "",
    "space": " \n\x00 ",
    "text": "nothing here",
    "maintenance": "<h1>Back soon</h1><p>The site is being repaired.</p>",
    "binary": bytes(range(256)).decode("latin-1") * 20,
    "person only": "<p>A B (1900-1980)</p><p>He was a composer.</p>",
    "unclosed": "<div><p<<>><table><tr><td><!--",
    "deep": "<div>" * 20_000,
    "xml": "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    "glossary only": "<p>glossary</p><p>rondo [I]—a round.</p>",
}


@pytest.mark.parametrize("html", BROKEN.values(), ids=BROKEN)
def test_what_is_no_work_page_is_a_page_error(html: str) -> None:
    with pytest.raises(PageError):
        WorkPage(html, "/chamber-music/x/").work()
    with pytest.raises(PageError):
        ArticlePage(html, "/article/x/").article()


@pytest.mark.parametrize("markup", MARKUPS)
def test_a_page_cut_anywhere_is_a_work_or_a_page_error(markup: str) -> None:
    whole = render_work(WORKS[0], markup)
    for stop in range(0, len(whole), 97):
        try:
            work = WorkPage(whole[:stop], WORKS[0].page_url).work()
        except PageError:
            continue
        assert work.composer.name == "Ada d'Example"


def test_article() -> None:
    article = {
        "article_id": "x", "title": "A < B", "date": "May 9th, 2012", "text": "One.\n\nTwo & three."
    }  # fmt: skip
    found = ArticlePage(render_article(article), "/article/x/").article()
    assert (found.title, found.date, found.text) == ("A < B", "May 9th, 2012", article["text"])
    assert (found.article_id, found.page_url) == ("x", "/article/x/")


PROSE = "The quartet was the talk of the whole town, and it still is. " * 4
TITLE = "Of Quartets"
LOOSE = {
    "plain": f"<h1>site</h1><h1>{TITLE}</h1><p>May 9th, 2012</p><p>{PROSE}</p><p>Read more</p>",
    "breaks": f"<h1>{TITLE}</h1><div>May 9th, 2012<br>{PROSE}<br></div><footer>home</footer>",
    "lower heading": f"<p>home</p><h2>{TITLE}</h2><p>May 9th, 2012</p><p>{PROSE}</p><h2>more</h2>",
    "teaser": f"<article><h1>{TITLE}</h1><p>May 9th, 2012</p><div>{PROSE}</div></article>"
    "<article><h1>Another</h1><p>A teaser.</p></article>",
}


@pytest.mark.parametrize("html", LOOSE.values(), ids=LOOSE)
def test_an_article_without_its_selectors(html: str) -> None:
    found = ArticlePage(html, "/article/x/").article()
    assert (found.title, found.date, found.text) == (TITLE, "May 9th, 2012", PROSE.strip())


@pytest.mark.parametrize("title", ["Page not found", "404", "Error 404: gone", "Not found."])
def test_an_article_that_is_gone_is_none(title: str) -> None:
    with pytest.raises(PageError, match="its title is"):
        ArticlePage(f"<h1>{title}</h1><p>{PROSE}</p>", "/article/x/").article()


def test_other_selectors_are_read_from_a_file(tmp_path: Path) -> None:
    text = (Path("crawler") / "selectors.toml").read_text()
    path = tmp_path / "selectors.toml"
    path.write_text(text.replace('"h1.title"', '".x"'))
    page = WorkPage(
        render_work(WORKS[0], "list"), WORKS[0].page_url, selectors=read_selectors(path)
    )
    assert page.work().title == WORKS[0].title
    assert page.coverage()["title"] == "text"
    assert page.coverage()["composer"] == "selector"
    assert read_selectors(Path("crawler") / "selectors.toml") == DEFAULT


@pytest.mark.parametrize(
    "text", [None, "not toml", "version = 1", '[labels]\nsurprise = "x"', "labels = 1"]
)
def test_a_file_without_selectors_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"mine\.toml"):
        read_selectors(path)


@pytest.mark.parametrize(
    ("was", "put", "said"),
    [
        ('facts = ["Duration",', 'facts = "Duration" #', r"labels\.facts is not a list of texts"),
        ('controls = ["autoopen",', "controls = [1,", r"labels\.controls is not a list of texts"),
        ('own = "earsense"', "own = 3", r"labels\.own is not a text"),
        ('own = "earsense"', 'own = ["earsense"]', r"labels\.own is not a text"),
        ('glossary = "glossary"', 'glossary = ""', r"labels\.glossary is not a text"),
        ("version = 3", 'version = "3"', "version is not a whole number"),
    ],
)
def test_every_table_of_a_selectors_file_is_checked(
    tmp_path: Path, was: str, put: str, said: str
) -> None:
    text = (Path("crawler") / "selectors.toml").read_text()
    assert was in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(was, put))
    with pytest.raises(UserError, match=said):
        read_selectors(path)


def test_a_selector_that_is_none_is_named(tmp_path: Path) -> None:
    selectors = dataclasses.replace(DEFAULT, work={**DEFAULT.work, "title": "h1["})
    with pytest.raises(UserError, match=r"h1\["):
        WorkPage("<p>x</p>", "x", selectors=selectors).work()
