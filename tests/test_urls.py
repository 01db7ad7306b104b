"""Addresses against the ones seen on the site, and hostile ones."""

from pathlib import Path

import pytest

from crawler.errors import UserError
from crawler.urls import canonical, is_loopback, may_follow, page_key, refusal, same_site, slug

SITE = "https://www.earsense.org"
RAVEL = "Maurice-Ravel-String-Quartet-in-F-major"


@pytest.mark.parametrize(
    "address",
    [
        RAVEL,
        f"/chamber-music/{RAVEL}/",
        f"/chamber-music/{RAVEL}",
        f"https://www.earsense.org/chamber-music/{RAVEL}/",
        f"http://earsense.org/chamber-music/{RAVEL}",
        f"https://www.earsense.org/chamber-music/{RAVEL}/?rq=lid%3D18%26rc%3D450%26ri%3D2&ri=1",
        f"https://www.earsense.org/chamber-music/{RAVEL}/?v=P-tyFM-4_0s1#notes",
        f"https://WWW.earsense.org:443//chamber-music//{RAVEL}/",
    ],
)
def test_every_address_of_a_work_has_one_form(address: str) -> None:
    assert canonical(address, SITE) == f"{SITE}/chamber-music/{RAVEL}/"
    assert canonical(canonical(address, SITE), SITE) == canonical(address, SITE)
    assert page_key(address) == slug(address) == RAVEL


@pytest.mark.parametrize(
    ("raw", "one"),
    [
        ("Vincent-d%27Indy-String-Quartet", "Vincent-d%27Indy-String-Quartet"),
        ("Vincent-d'Indy-String-Quartet", "Vincent-d%27Indy-String-Quartet"),
        ("Elegy_-A-Cry-From-The-Grave", "Elegy_-A-Cry-From-The-Grave"),
        ("Haydn-HobIII%5F38", "Haydn-HobIII_38"),
        ("Wake-Up!", "Wake-Up!"),
        ("Trio:Elegiaque-No-1", "Trio%3AElegiaque-No-1"),
        ("Wake-Up%21", "Wake-Up!"),
        ("Dvo%C5%99%C3%A1k", "Dvo%C5%99%C3%A1k"),
        ("Dvořák", "Dvo%C5%99%C3%A1k"),
    ],
)
def test_a_slug_has_one_spelling(raw: str, one: str) -> None:
    assert slug(raw) == slug(f"/chamber-music/{raw}/") == one


def test_articles_keep_apart_from_works() -> None:
    address = "https://www.earsense.org/article/What-Is-Chamber-Music/"
    assert canonical(address, SITE) == address
    assert page_key(address) == "article/What-Is-Chamber-Music"
    assert page_key("What-Is-Chamber-Music") == "What-Is-Chamber-Music"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "..",
        "-rf",
        "a b",
        "a\x00b",
        "/chamber-music/",
        "/chamber-music/../x/",
        "/chamber-music/%2e%2e/",
        "/chamber-music/a%2Fb/",
        "/chamber-music/a%5Cb/",
        "/chamber-music/a%00b/",
        "/chamber-music/-option/",
        "/chamber-music/%ff/",
        "/chamber-music/a/b/",
        "/search/?q=tag:black",
        "https://www.earsense.org/blog/?m=201512",
        "https://[broken/chamber-music/x/",
        "x" * 201,
    ],
)
def test_anything_else_is_refused_with_what_was_given(address: str) -> None:
    with pytest.raises(UserError) as refusal:
        canonical(address, SITE)
    assert repr(address) in str(refusal.value)
    assert not may_follow(address, SITE)


@pytest.mark.parametrize(
    "address",
    [
        f"https://evil.example/chamber-music/{RAVEL}/",
        f"https://www.earsense.org.evil.example/chamber-music/{RAVEL}/",
        f"https://www.earsense.org@evil.example/chamber-music/{RAVEL}/",
        f"file://www.earsense.org/chamber-music/{RAVEL}/",
        f"//evil.example/chamber-music/{RAVEL}/",
        f"javascript:/chamber-music/{RAVEL}/",
        f"https://www.earsense.org:8443/chamber-music/{RAVEL}/",
    ],
)
def test_another_site_is_refused(address: str) -> None:
    with pytest.raises(UserError):
        canonical(address, SITE)
    assert not may_follow(address, SITE)


def test_only_pages_without_query_are_followed() -> None:
    assert may_follow(f"{SITE}/chamber-music/{RAVEL}/", SITE)
    assert not may_follow(f"{SITE}/chamber-music/{RAVEL}/?ri=3", SITE)
    assert not may_follow(f"{SITE}/article/", SITE)
    for link in ("javascript:void(0)", "mailto:someone@example.org", "tel:+123", RAVEL, ""):
        assert not may_follow(link, SITE)


def test_a_replica_is_a_site_by_its_port() -> None:
    assert same_site("http://127.0.0.1:8001/x", "http://127.0.0.1:8001")
    assert not same_site("http://127.0.0.1:8002/x", "http://127.0.0.1:8001")
    assert [
        is_loopback(u) for u in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost")
    ] == [True] * 3
    assert not any(map(is_loopback, (SITE, "http://127.0.0.1.example", "http://10.0.0.1", "x")))


def test_demo_slugs_are_in_their_one_spelling() -> None:
    from crawler.items import read_works

    works = read_works(Path("data/demo/works.jsonl"))
    assert [slug(work.page_url) for work in works] == [work.work_id for work in works]


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("file:///etc/passwd", "scheme is file"),
        ("javascript:alert(1)", "scheme is javascript"),
        ("//", "scheme is missing"),
        ("http://127.0.0.1/chamber-music/X/", "private"),
        ("http://127.0.0.1:8001/", "private"),
        ("http://localhost/", "private"),
        ("http://db.internal/", "private"),
        ("http://10.1.2.3/", "private"),
        ("http://192.168.0.1/", "private"),
        ("http://172.16.9.9/", "private"),
        ("http://169.254.169.254/latest/meta-data/", "private"),
        ("http://[::1]/", "private"),
        ("http://[fe80::1%25eth0]/", "private"),
        ("http://[::ffff:127.0.0.1]/", "private"),
        ("http://0.0.0.0/", "private"),
        ("http://2130706433/", "private"),
        ("http://0x7f000001/", "private"),
        ("http://127.1/", "private"),
        ("https://example.org/", "another site"),
        ("https://www.earsense.org.evil.example/", "another site"),
        ("https://www.earsense.org@evil.example/", "another site"),
        ("https://www.earsense.org:8443/", "another site"),
        ("https://8.8.8.8/", "another site"),
        ("http://[::1", "no address"),
        ("http://www.earsense.org:99999/", "no address"),
    ],
)
def test_no_request_leaves_the_site(address: str, word: str) -> None:
    assert word in str(refusal(address, SITE))


def test_the_site_itself_is_allowed_wherever_it_is() -> None:
    for address in ("http://earsense.org/x", "https://www.earsense.org/robots.txt"):
        assert refusal(address, SITE) is None
    assert refusal("http://127.0.0.1:8001/x", "http://127.0.0.1:8001") is None
    assert "private" in str(refusal("http://127.0.0.1:8002/x", "http://127.0.0.1:8001"))
    assert "private" in str(refusal("http://10.0.0.1/", "http://127.0.0.1:8001"))
