"""One page looked at: what is told of it, and what is kept."""

import dataclasses
import json
from pathlib import Path

import pytest
from page_markups import MARKUPS, fixtures

from crawler.crawl import CrawlConfig
from crawler.errors import UserError
from crawler.items import work_from_dict
from crawler.pages import DEFAULT
from crawler.probe import probe, probe_page, save_fixture, shortened

SUK = next(folder for folder, _, _ in fixtures() if "Suk" in folder.name)
WORK = work_from_dict(json.loads((SUK / "work.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("markup", MARKUPS)
def test_a_file_beside_its_work_knows_its_address(markup: str) -> None:
    found = probe(str(SUK / f"{markup}.html"))
    assert found.work == WORK and found.error is None and found.remarks == ()
    told = found.to_dict()
    assert set(told) == {"work", "coverage"} and json.loads(json.dumps(told)) == told | {
        "work": json.loads((SUK / "work.json").read_text(encoding="utf-8"))
    }
    rows = {row["field"]: row for row in found.rows()}
    assert rows["title"] == {"field": "title", "method": rows["title"]["method"],
                             "value": "Piano Quintet in g minor, Op. 8",
                             "tried": "selector 'h1.title': no element"}  # fmt: skip
    assert rows["movements"]["value"].startswith("1. Allegro energico; 2. Adagio. Relgioso; 3. ")
    assert rows["counts"]["value"] == "1 recording, 4 videos"
    assert rows["notes"]["value"] == "Earscribe Examples: 59 words"
    assert rows["catalogue"]["method"] == "not found"
    assert rows["catalogue"]["tried"] == "not in the title"
    assert "selector: none given; text: nothing of its form in" in rows["list"]["tried"]


def test_a_file_alone_has_the_address_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "saved-page.html"
    path.write_bytes((SUK / "lists.html").read_bytes())
    assert (work := probe(str(path)).work) and work.work_id == "saved-page"
    found = probe(str(path), url="http://earsense.org/chamber-music/Josef-Suk/?ri=3")
    assert found.work == dataclasses.replace(
        WORK, work_id="Josef-Suk", page_url="https://www.earsense.org/chamber-music/Josef-Suk/"
    )


def test_an_address_of_another_site_is_kept() -> None:
    address = "http://127.0.0.1:8422/chamber-music/Josef-Suk/"
    found = probe(str(SUK / "lists.html"), url=address + "?v=x")
    assert found.work and found.work.page_url == address


def test_a_saved_probe_is_a_fixture(tmp_path: Path) -> None:
    folder = tmp_path / "suk"
    save_fixture(probe(str(SUK / "tables.html")), folder)
    assert (folder / "work.json").read_bytes() == (SUK / "work.json").read_bytes()
    again = probe(str(folder / "page.html"))
    assert again.work == WORK
    assert save_fixture(again, folder) == [folder / "page.html", folder / "work.json"]
    with pytest.raises(UserError, match="this page is none"):
        save_fixture(probe_page("<h1>Back soon</h1>", again.url), folder)
    assert (folder / "page.html").read_bytes() == (SUK / "tables.html").read_bytes()
    other = next(f for f, _, _ in fixtures() if "Mozart" in f.name)
    with pytest.raises(UserError, match="another work"):
        save_fixture(probe(str(other / "lists.html")), folder)


def test_a_page_that_is_none_says_what_was_tried_and_is_saved_alone(tmp_path: Path) -> None:
    found = probe_page("<h1>Back soon</h1>", "/chamber-music/x/")
    assert found.work is None and found.error and "no composer" in found.error
    row = next(row for row in found.rows() if row["field"] == "composer")
    assert row["method"] == "not found" and "selector 'header.composer': no element" in row["tried"]
    assert "no line that could be the title" in row["tried"]
    assert probe_page("", "/chamber-music/x/").to_dict() == {"work": None, "coverage": {}}
    save_fixture(found, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<h1>Back soon</h1>"


def test_what_does_not_fit_together_is_remarked() -> None:
    text = (SUK / "divs.html").read_text(encoding="utf-8")
    text = text.replace("<div>4 videos</div>", "<div>6 videos</div>").replace("III.\n", "V.\n")
    assert probe_page(text, WORK.page_url).remarks == (
        "the page says 6 videos, 4 found",
        "the movements are numbered [1, 2, 5, 4]",
        "videos of movements [3], which the page does not list",
    )


def test_selectors_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = Path("crawler/selectors.toml").read_text(encoding="utf-8")
    path.write_text(text.replace('"h1.title"', '"h1.k-title"'), encoding="utf-8")
    found = probe(str(SUK / "lists.html"), config=CrawlConfig(selectors=path))
    assert found.work == WORK
    assert found.to_dict()["coverage"]["title"] == "selector"
    assert probe_page(found.html, found.url, selectors=DEFAULT).to_dict()["coverage"][
        "title"] == "text"  # fmt: skip


@pytest.mark.parametrize(
    ("target", "url", "said"),
    [
        ("no/such/page.html", None, "is no file"),
        ("tests", None, "is no file"),
        (str(SUK / "lists.html"), "https://www.earsense.org/article/x/", "is an article"),
        (str(SUK / "lists.html"), "https://www.earsense.org/", "is no page of the site"),
        ("Some-Slug", None, "--contact"),
    ],
)
def test_what_is_no_page_is_told_in_one_line(target: str, url: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        probe(target, url=url)


def test_a_file_larger_than_a_page_may_be_is_refused() -> None:
    with pytest.raises(UserError, match="larger than crawl.max_page_bytes, 1000"):
        probe(str(SUK / "lists.html"), config=CrawlConfig(max_page_bytes=1000))


def test_an_article_is_refused_before_it_is_asked_for() -> None:
    with pytest.raises(UserError, match="is an article"):  # and not: --contact is missing
        probe("https://www.earsense.org/article/x/")


def test_long_values_are_shortened() -> None:
    assert shortened(None) == "" and shortened((1750, None)) == "1750; "
    assert len(shortened("x" * 500)) == 160
