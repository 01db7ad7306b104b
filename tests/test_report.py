"""The report in a parser, and in a real browser where there is one."""

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from crawler.errors import LockedError, UserError
from crawler.ledger import Ledger, State, folder_lock
from dataset.hypertext import escape
from dataset.index import load_pairs, write_pairs
from dataset.plots import Band, bars, histogram, nice_step, opus, png, spectrogram
from dataset.report import report
from dataset.samples import choose_samples
from dataset.splits import SplitConfig, split

EVIL = """<script>alert(1)</script>"><img src=x onerror='alert(2)'> & "quoted" \x00 end"""


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six samples a page: sound takes most of the time."""
    monkeypatch.setattr("dataset.facts.SAMPLES", 6)


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def replace_all(data: Path, **values: Any) -> None:
    path = data / "pairs.parquet"
    write_pairs(path, [dataclasses.replace(pair, **values) for pair in load_pairs(path)])


# ---------------------------------------------------------------- the page as text


def test_the_counts_are_those_of_the_index(small_corpus: Path) -> None:
    made = report(small_corpus)
    assert made.counts == {"ok": 20, "failed": 3, "filtered": 2, "pending": 2}
    text = " ".join(Page(made.artifact).text.split())
    assert "pairs of text and music20works7composers6clips18" in text
    for reason in ("gone", "network", "movements_in_two_files", "too_short", "HTTP 404"):
        assert reason in text
    assert "Ana Alba" in text
    assert "6 of 20 pairs, the first 15 s" in text


def test_nothing_is_asked_from_outside(small_corpus: Path) -> None:
    split(small_corpus, SplitConfig())
    page = Page(report(small_corpus).artifact)
    sources = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "poster", "action", "data")
    ]
    outside = [value for value in sources if not str(value).startswith("#")]
    assert len(outside) == 6 * 2 + 1
    assert all(value and value.startswith("data:") for value in outside)
    sections = [part["id"] for part in page.all("section")]
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in sections]
    assert not re.search(r"@import|url\(", page.source)
    assert not page.all("script")


def test_text_from_outside_stays_text(small_corpus: Path) -> None:
    texts = ("caption", "composer", "title", "movement_name", "note_source", "text_rights")
    more = ("key", "mode", "ensemble", "tempo_class", "opus", "source_url")
    replace_all(small_corpus, **dict.fromkeys((*texts, *more), EVIL), performers=(EVIL,))
    path = small_corpus / "pairs.parquet"
    failed = [
        dataclasses.replace(pair, error_message=EVIL) if pair.status == "failed" else pair
        for pair in load_pairs(path)
    ]
    write_pairs(path, failed)
    page = Page(report(small_corpus).artifact)
    assert not page.all("script")
    assert all(image["src"] != "x" for image in page.all("img"))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count("<script>alert(1)</script>") > 6 * 5
    assert "\x00" not in page.source


def test_the_same_folder_gives_the_same_bytes(small_corpus: Path, tmp_path: Path) -> None:
    split(small_corpus, SplitConfig())
    twin = Path(shutil.copytree(small_corpus, tmp_path / "twin"))
    first = report(small_corpus)
    assert first.artifact.read_bytes() == report(twin).artifact.read_bytes()
    assert report(small_corpus).work_done == 0
    assert first.work_done == 1


def test_a_changed_folder_gives_another_page(small_corpus: Path) -> None:
    report(small_corpus)
    split(small_corpus, SplitConfig(seed=3))
    made = report(small_corpus)
    assert made.work_done == 1
    assert "seed 3" in Page(made.artifact).text
    replace_all(small_corpus, caption="Another text.")
    assert report(small_corpus).work_done == 1


def test_the_split_is_shown_with_a_table_that_gives_it_again(small_corpus: Path) -> None:
    import tomllib

    from crawler.options import layered

    config = SplitConfig(
        where="composer <> 'Dan O''Dell' AND title <> '😀 é'", fractions=(0.5, 0.5), seed=2
    )
    split(small_corpus, config)
    text = Page(report(small_corpus).artifact).text
    table = re.search(r"\[split\]\n(\w+ = .*\n?)+", text)
    assert table
    assert layered(SplitConfig(), "split", toml=tomllib.loads(table[0]), environment={}) == config


def test_pages_of_the_ledger_are_counted(small_corpus: Path) -> None:
    with Ledger(small_corpus) as ledger:
        for number in range(3):
            ledger.record("page", f"ok-{number}", State.OK)
        ledger.record("page", "gone", State.FAILED, error_class="gone")
        ledger.record("source", "other", State.OK)
    page = Page(report(small_corpus).artifact)
    assert "pages asked for4pages read3works7works with prose7" in page.text
    assert 'works</bdi><b>7</b><i style="width:100.0%"' in page.source  # pairs have their own scale


def test_without_music_there_is_still_a_page(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    write_pairs(path, [pair for pair in load_pairs(path) if pair.status != "ok"])
    (small_corpus / "works.jsonl").unlink()
    page = Page(report(small_corpus).artifact)
    assert "No pair has music yet" in page.text
    assert not page.all("audio")
    write_pairs(path, [])
    assert report(small_corpus).counts == {}


def test_a_clip_that_vanished_costs_its_player_only(
    small_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataset.facts.SAMPLES", 24)
    first, second, *_ = sorted((small_corpus / "clips").rglob("*.flac"))
    first.unlink()
    second.write_bytes(b"<html>")
    page = Page(report(small_corpus).artifact)
    lost = page.text.count("No sound:")
    assert lost >= 2
    assert len(page.all("audio")) == 20 - lost


def test_a_clip_that_comes_back_is_heard(small_corpus: Path) -> None:
    whole = report(small_corpus).artifact.read_bytes()
    kept = small_corpus / "clips"
    kept.rename(small_corpus / "away")
    assert report(small_corpus).work_done == 1
    assert not Page(small_corpus / "report.html").all("audio")
    (small_corpus / "away").rename(kept)
    assert report(small_corpus).work_done == 1
    assert (small_corpus / "report.html").read_bytes() == whole


@pytest.mark.parametrize(
    "harm",
    [
        lambda page: page[:-1],
        lambda page: page[: len(page) // 2],
        lambda page: page.replace(b"<h2>", b"<h3>", 1),
        lambda page: b"\xff\xfe",
        lambda page: b"",
    ],
)
def test_a_damaged_page_is_written_again(
    small_corpus: Path, harm: Callable[[bytes], bytes]
) -> None:
    page = report(small_corpus).artifact
    whole = page.read_bytes()
    page.write_bytes(harm(whole))
    assert report(small_corpus).work_done == 1
    assert page.read_bytes() == whole


def test_a_folder_in_the_pages_place_is_one_line(small_corpus: Path) -> None:
    (small_corpus / "report.html").mkdir()
    with pytest.raises(UserError, match="report.html is a folder"):
        report(small_corpus)


def test_the_commands_to_rebuild_are_those_of_the_program(small_corpus: Path) -> None:
    typer = pytest.importorskip("typer")
    from cli import app

    split(small_corpus, SplitConfig())
    commands = re.findall(r"^earscribe (\w+) (.*)$", Page(report(small_corpus).artifact).text, re.M)
    assert [stage for stage, _ in commands] == [
        *("build", "crawl", "pair", "fetch", "validate", "split", "report")
    ]
    known = typer.main.get_command(app).commands
    for stage, arguments in commands:
        allowed = {flag for parameter in known[stage].params for flag in parameter.opts}
        assert set(re.findall(r"--\w+", arguments)) <= allowed
    assert dict(commands)["crawl"] == "--data DIR --seeds FILE --contact YOU"


def test_a_long_caption_is_clamped_and_whole(small_corpus: Path) -> None:
    caption = " ".join(f"word{n}" for n in range(300))
    replace_all(small_corpus, caption=caption)
    page = Page(report(small_corpus).artifact)
    assert len(page.all("details")) == 6
    assert caption not in page.text
    assert page.text.replace("… more", "").count(caption) == 6


def test_folds_are_told_and_so_is_a_split_that_cannot_be_read(small_corpus: Path) -> None:
    config = SplitConfig(name="turns", folds=2, method="stable", where="year > 5 AND true")
    folder = split(small_corpus, config).artifact
    (folder.parent / "begun").mkdir()  # without a split.json: not there yet
    (folder.parent / "harmed").mkdir()
    (folder.parent / "harmed" / "split.json").write_text("{")
    record = json.loads((folder / "split.json").read_text())
    text = " ".join(Page(report(small_corpus).artifact).text.split())
    assert "2 folds, grouped by composer, method stable, seed 0" in text
    assert "5 groups, the largest of 6 pairs" in text
    assert "where year > 5 AND true" in text
    for name, part in record["parts"].items():
        assert f"{name}{part['rows']}{100 * part['share']:.1f} %{part['works']}" in text.replace(
            f"{name} {part['rows']} ", f"{name}{part['rows']}"
        )
    assert sum(map(bool, record["left_out"].values())) >= 3
    assert all(f"{why}{count}" in text for why, count in record["left_out"].items() if count)
    assert "near caption also stands in the other folds" in text
    assert "splits/harmed/split.json is damaged or of another version" in text
    assert "begun" not in text


def halve(index: Path) -> None:
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


def age(index: Path) -> None:
    table = pq.read_table(index)
    pq.write_table(table.replace_schema_metadata({"earscribe_schema_version": "1"}), index)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (halve, "damaged or not a parquet file"),
        (lambda index: index.write_bytes(b""), "damaged or not a parquet file"),
        (age, "has schema version 1, this program reads"),
    ],
)
def test_an_index_that_cannot_be_read_is_one_line_and_overwrites_nothing(
    small_corpus: Path, harm: Callable[[Path], object], told: str
) -> None:
    page = report(small_corpus).artifact
    before = page.read_bytes()
    harm(small_corpus / "pairs.parquet")
    with pytest.raises(UserError, match=told):
        report(small_corpus)
    assert page.read_bytes() == before


def test_an_ok_row_without_a_clip_and_an_empty_ledger_break_nothing(small_corpus: Path) -> None:
    replace_all(small_corpus, audio=None, num_samples=None, loudness_lufs=float("-inf"))
    (small_corpus / "ledger.sqlite").touch()
    made = report(small_corpus)
    assert made.counts["ok"] == 20
    assert "No pair has music yet" in Page(made.artifact).text


def test_no_sound_from_outside_of_the_folder_gets_into_the_page(
    small_corpus: Path, tmp_path: Path
) -> None:
    clip = min((small_corpus / "clips").rglob("*.flac"))
    secret = Path(shutil.copy(clip, tmp_path / "secret.flac"))
    for path in (str(secret), "clips/../../secret.flac"):
        assert (small_corpus / path).is_file()
        replace_all(small_corpus, audio={"bytes": None, "path": path})
        assert not Page(report(small_corpus).artifact).all("audio")


def test_levels_decades_and_failures_are_counted(small_corpus: Path) -> None:
    path = small_corpus / "pairs.parquet"
    levels = [-30.5, None, float("-inf"), float("nan")]
    pairs = [
        dataclasses.replace(pair, loudness_lufs=levels[int(pair.clip_id or "0", 16) % 4])
        for pair in load_pairs(path)
    ]
    write_pairs(path, pairs)
    page = Page(report(small_corpus).artifact)
    figures = dict(re.findall(r'aria-label="([^:"]+): ([^"]+)"', page.source))
    clips = {pair.clip_id for pair in pairs if pair.status == "ok" and pair.loudness_lufs == -30.5}
    value = f"{len(clips)} value{'s' if len(clips) > 1 else ''}"
    assert figures["Loudness of the clips"].startswith(f"{value} from -30.5 to -30.5 LUFS")
    assert figures["Works by decade"] == "6 values from 1780 to 1890, median 1840"
    assert figures["How sure the text is of its movement"].startswith("26 values from 0.5 to 0.875")
    assert "1780 to 1790: 1" in page.source
    assert "Pairs by classgone2network1" in page.text


def test_no_index_and_a_busy_folder_are_one_line(small_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no index at"):
        report(tmp_path / "empty")
    with folder_lock(small_corpus), pytest.raises(LockedError):
        report(small_corpus)


def test_samples_show_every_work_before_any_twice() -> None:
    rows = [{"pair_id": f"{n}", "work_id": f"w{n % 5}"} for n in range(30)]
    chosen = choose_samples(rows, 12)
    assert len({row["work_id"] for row in chosen[:5]}) == 5
    assert len({row["work_id"] for row in chosen[5:10]}) == 5
    assert len({row["pair_id"] for row in chosen}) == 12
    assert choose_samples(rows[::-1], 12) == chosen
    assert choose_samples(rows[:3], 12) == choose_samples(rows[:3], 3)


# ---------------------------------------------------------------- pictures and sound


def test_histogram_columns_hold_every_value() -> None:
    values = [0.1 * n for n in range(100)] + [3.0] * 7
    figure = histogram("Title", values, "s", Band(2.0, 4.0, "s", "the others"))
    counts = [int(n) for n in re.findall(r"<title>[^<]* s: (\d+)</title>", figure)]
    assert sum(counts) == 107
    assert "% lie in the range of the others" in figure
    assert 'class="band"' in figure
    assert 'class="band"' not in histogram("Title", values, "s", Band(50, 60, "s", "the others"))
    assert "none" in histogram("Title", [], "s")
    assert "1 value from" in histogram("Title", [5.0], "s")
    assert "1 value from" in histogram("Title", [5.0, float("nan")], "s")


@pytest.mark.parametrize("top", [97, 192, 199, 200, 980, 1004, 12_345])
def test_ticks_do_not_run_into_each_other(top: int) -> None:
    figure = histogram("Title", [3.0, float(top)], "tokens")
    ticks = re.findall(r'<text x="([\d.]+)" y="159" text-anchor="(\w+)">([^<]+)</text>', figure)
    assert len(ticks) >= 2
    spans = []
    for x, anchor, text in ticks:
        width = 6.5 * len(text)  # of digits at 11 px
        left = float(x) - (width if anchor == "end" else width / 2)
        spans.append((left, left + width))
    assert all(one[1] < other[0] for one, other in pairwise(spans))
    assert spans[-1][1] <= 360
    assert "Title (tokens)" in figure


@pytest.mark.parametrize(
    ("span", "step"), [(24, 1), (25, 2), (240, 10), (0.24, 0.01), (700, 50), (1.0, 0.05)]
)
def test_steps_are_round_numbers(span: float, step: float) -> None:
    assert nice_step(span, 24) == pytest.approx(step)


def test_bars_sum_up_what_they_leave_out() -> None:
    figure = bars("Title", {f"name {n}": n + 1 for n in range(20)}, most=5)
    numbers = [int(n) for n in re.findall(r"<b>(\d+)</b>", figure)]
    assert numbers[:5] == [20, 19, 18, 17, 16]
    assert sum(numbers) == sum(range(1, 21))
    assert "15 others" in figure


def test_escaped_text_comes_back_from_a_parser() -> None:
    shown: list[str] = []
    parser = HTMLParser()
    parser.handle_data = shown.append  # type: ignore[method-assign]
    parser.feed(f"<p>{escape(EVIL)}</p>")
    assert "".join(shown) == EVIL.replace("\x00", "\ufffd")


def test_a_tone_lights_its_own_row_of_the_spectrogram() -> None:
    image_module = pytest.importorskip("PIL.Image")
    times = np.arange(32_000) / 16_000
    tops = []
    for pitch_hz in (200.0, 2_000.0):
        samples = np.sin(2 * np.pi * pitch_hz * times).astype(np.float32)
        image = image_module.open(io.BytesIO(spectrogram(samples, 16_000)))
        assert image.size == (480, 96)
        tops.append(int(np.asarray(image)[:, 240].argmax()))
    # rows are even in the logarithm from 60 Hz to 8 kHz, high notes on top
    expected = [96 * np.log(8_000 / f) / np.log(8_000 / 60) for f in (200.0, 2_000.0)]
    assert tops == pytest.approx(expected, abs=2)


def test_png_gives_its_cells_back_to_another_decoder() -> None:
    image_module = pytest.importorskip("PIL.Image")
    cells = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert np.array_equal(np.asarray(image_module.open(io.BytesIO(png(cells)))), cells)


def test_silence_has_a_spectrogram() -> None:
    assert spectrogram(np.zeros(100, np.float32), 16_000).startswith(b"\x89PNG")


def test_the_excerpt_keeps_length_and_pitch() -> None:
    samples = (0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)
    body = opus(samples, 16_000)
    assert body == opus(samples, 16_000)
    with av.open(io.BytesIO(body)) as file:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert len(heard) / 48_000 == pytest.approx(2.0, abs=0.05)
    spectrum = np.abs(np.fft.rfft(heard[:48_000]))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=2)


def test_the_players_hold_the_clips(small_corpus: Path) -> None:
    page = Page(report(small_corpus).artifact)
    lengths = []
    for player in page.all("audio"):
        body = base64.b64decode(str(player["src"]).split(",")[1])
        with av.open(io.BytesIO(body)) as file:
            lengths.append(sum(frame.samples for frame in file.decode(audio=0)) / 48_000)
    expected = [
        pair.num_samples / 16_000
        for pair in load_pairs(small_corpus / "pairs.parquet")
        if pair.status == "ok" and pair.num_samples
    ]
    assert len(lengths) == 6
    assert all(min(abs(length - known) for known in expected) < 0.05 for length in lengths)


# ---------------------------------------------------------------- a real browser

PLAY = """
const done = arguments[arguments.length - 1];
const play = async (audio) => {
  audio.muted = true;
  await audio.play();
  const until = Date.now() + 5000;
  while (audio.currentTime < 0.2 && Date.now() < until)
    await new Promise((next) => setTimeout(next, 20));
  audio.pause();
  return [audio.currentTime, audio.duration, audio.error === null];
};
Promise.all([...document.querySelectorAll("audio")].map(play)).then(done, (e) => done(String(e)));
"""
BEYOND = """
const scrolls = (e) => e && (["auto", "hidden"].includes(getComputedStyle(e).overflowX) ||
  scrolls(e.parentElement));
return [...document.body.querySelectorAll("*")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement))
  .map((e) => e.outerHTML.slice(0, 80));
"""
TURNED = """
const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), turned = [];
for (let node; (node = nodes.nextNode()); ) {
  if (!/^[\\x20-\\x7e\\u202e\\u2013]+$/.test(node.data)) continue;
  let last = null;
  for (let at = 0; at < node.data.length; at++) {
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    const box = range.getBoundingClientRect();
    if (last && box.width && box.top === last.top && box.left < last.left)
      { turned.push(node.data.replace("\\u202e", "")); break; }
    last = box.width ? box : last;
  }
}
return turned;
"""  # pieces of Latin text that do not run from left to right
HOSTILE = (
    EVIL,
    "w" * 10_000,
    '=HYPERLINK("https://example.org","x")',
    "\u202eright to left\u202e \u05e9\u05dc\u05d5\u05dd \u2067\u200f",
    "\U0001f469\u200d\U0001f3bb \U0001f3fb\u200d\u2640\ufe0f",
    "\\frac{a}{b} $x^2$ {{7*7}} ${1} `ls` <!-- --> ]]> </style></script>",
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium through its driver."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        "autoplay-policy=no-user-gesture-required",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(executable_path=driver)
    running = webdriver.Chrome(options=options, service=service)
    yield running
    running.quit()


@pytest.fixture
def browser(chromium: Any) -> Any:
    """The browser as it is when it begins: a light screen, nothing in its console."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    emulate(chromium)
    chromium.get_log("browser")
    return chromium


def emulate(browser: Any, media: str = "screen", scheme: str = "light") -> None:
    """Show the page on another medium, or by night."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def overflow(browser: Any, width: int) -> int:
    """Pixels by which the page is wider than a window of this width."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    script = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth, innerWidth]"
    page, room, window = browser.execute_script(script)  # room = the window less its scroll bar
    assert window == width
    assert browser.execute_script(BEYOND) == []
    return int(page - room)


def test_a_browser_shows_and_plays_it(small_corpus: Path, browser: Any) -> None:
    path = small_corpus / "pairs.parquet"
    long = "https://example.org/" + "a" * 300
    pairs = [
        dataclasses.replace(pair, title=long, error_message=long, loudness_lufs=-20.0 - number)
        for number, pair in enumerate(load_pairs(path))
    ]
    write_pairs(path, pairs)
    split(small_corpus, SplitConfig(where=f"caption <> '{'b' * 200}'"))
    browser.get(report(small_corpus).artifact.as_uri())
    players = browser.execute_async_script(PLAY)
    assert len(players) == 6
    assert all(at > 0.15 and duration > 0.9 and sound for at, duration, sound in players)
    images = browser.execute_script(
        "return [...document.images].map((image) => [image.complete, image.naturalWidth])"
    )
    assert images == [[True, 480]] * 6
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map((s) => s.getBoundingClientRect().height)"
    )
    assert len(drawn) == 5  # lengths, tokens, loudness, scores, decades
    assert min(drawn) > 50
    assert [overflow(browser, width) for width in (390, 320, 1280)] == [0, 0, 0]
    assert browser.get_log("browser") == []


def test_the_worst_texts_neither_run_nor_overflow_nor_turn_their_neighbours(
    small_corpus: Path, browser: Any
) -> None:
    path = small_corpus / "pairs.parquet"
    names = ("caption", "composer", "title", "opus", "movement_name", "note_source", "text_rights")
    more = ("key", "mode", "ensemble", "tempo_class", "source_url")
    pairs = [
        dataclasses.replace(
            pair,
            **dict.fromkeys((*names, *more), text),  # type: ignore[arg-type]
            performers=(text,),
            error_message=text if pair.status == "failed" else None,
            filter_reason=text if pair.status == "filtered" else None,
        )
        for number, pair in enumerate(load_pairs(path))
        if (text := HOSTILE[number % len(HOSTILE)])
    ]
    write_pairs(path, pairs)
    browser.get(report(small_corpus).artifact.as_uri())
    assert [overflow(browser, width) for width in (390, 1280)] == [0, 0]
    assert browser.get_log("browser") == []
    told = browser.execute_script("return document.body.textContent")
    for text in HOSTILE:
        shown = re.sub("[\x00\u202e\u2067]", "\ufffd", text)
        assert shown in told or len(text) > 100
    bare = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter((e) => "
        "[...e.childNodes].some((n) => n.nodeType === 3 && /[\u05d0-\u05ea]/.test(n.data)) && "
        "!e.closest('bdi, blockquote')).map((e) => e.outerHTML.slice(0, 90))"
    )
    assert bare == []
    assert browser.execute_script(TURNED) == []
    assert browser.execute_script(f"document.body.append('\u202etext'); {TURNED}") == ["text"]


def test_by_night_it_is_dark_and_on_paper_light_with_its_bars_and_whole_texts(
    small_corpus: Path, browser: Any
) -> None:
    replace_all(small_corpus, caption=" ".join(f"word{n}" for n in range(300)))
    browser.get(report(small_corpus).artifact.as_uri())
    script = """
    const style = (name) => getComputedStyle(document.querySelector(name));
    const page = style("body"), bar = style(".bars i");
    const rest = document.querySelector("details").getBoundingClientRect().height;
    return [page.backgroundColor, page.colorScheme, bar.printColorAdjust, bar.backgroundColor,
      style("audio").display, style(".printed").display, style("nav").display, rest > 60];
    """
    emulate(browser, scheme="dark")
    dark = browser.execute_script(script)
    assert dark[0] == "rgb(23, 22, 20)"
    assert dark[4:] == ["block", "none", "flex", False]
    emulate(browser, media="print", scheme="dark")
    assert browser.execute_script(script) == [
        *("rgb(255, 255, 255)", "light", "exact", "rgb(185, 140, 119)"),
        *("none", "block", "none", True),
    ]
