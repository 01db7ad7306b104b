"""How far a data folder has come: ages, rates, what is left, what took long."""

import dataclasses
import json
import sqlite3
import time
from pathlib import Path

import pytest
from test_cli import contents, earscribe

from crawler import commands
from crawler.errors import UserError
from crawler.ledger import LEDGER_NAME, Ledger, State
from dataset.index import PAIRS_NAME, load_pairs, write_pairs
from model.status import status

NOW_S = 1_800_000_000.0
HOUR_S = 3_600.0


def record(data: Path, stage: str, item: str, state: str, ago_s: float, **more: object) -> None:
    """One attempt that ended `ago_s` seconds before NOW_S."""
    took_s = float(str(more.get("took_s", 1.0)))
    with Ledger(data) as ledger:
        ledger.record(
            stage, item, State(state), error_class=more.get("error_class"),  # type: ignore[arg-type]
            result=more.get("result"),  # type: ignore[arg-type]
        )  # fmt: skip
    with sqlite3.connect(data / LEDGER_NAME) as db:
        ended_s = NOW_S - ago_s
        db.execute(
            "UPDATE items SET updated_s = ? WHERE stage = ? AND item = ?", (ended_s, stage, item)
        )
        db.execute(
            "UPDATE attempts SET started_s = ?, ended_s = ? WHERE stage = ? AND item = ?",
            (ended_s - took_s, ended_s, stage, item),
        )
    db.close()


def test_items_are_counted_once_by_age(tmp_path: Path) -> None:
    for number, ago_s in enumerate((1.0, 30.0, 2 * HOUR_S, 25 * HOUR_S, 900 * HOUR_S, -50.0)):
        record(tmp_path, "source", str(number), "ok", ago_s)
    record(tmp_path, "source", "lost", "failed", 5 * HOUR_S, error_class="gone")
    failed, ok = status(tmp_path, NOW_S)["items"]
    assert (failed["class"], failed["number"], failed["day"]) == ("gone", 1, 1)
    counts = [ok[name] for name in ("number", "hour", "day", "older")]
    assert counts == [6, 3, 1, 2], "what a wrong clock dated ahead is new"


def test_the_rate_is_that_of_the_time_at_work_and_gives_the_time_left(small_corpus: Path) -> None:
    rows = load_pairs(small_corpus / PAIRS_NAME)
    left = [dataclasses.replace(row, status="pending", stage="pair") for row in rows]
    write_pairs(small_corpus / PAIRS_NAME, left)
    sources = sorted({row.source_url for row in rows})
    clips = {(row.source_url, row.movements) for row in rows}
    record(small_corpus, "source", sources[0], "ok", 0.0, took_s=300.0)
    record(small_corpus, "source", sources[1], "failed", 600.0, error_class="network", took_s=600.0)
    record(small_corpus, "cut", "a", "ok", 2 * HOUR_S)
    cut, source = status(small_corpus, NOW_S)["rates"]
    assert source == {
        **{"stage": "source", "hour": 2, "per_hour": 6.0},  # two since twenty minutes ago
        **{"left": len(sources) - 1, "left_s": round((len(sources) - 1) * 600)},
    }
    assert cut["left"] == sum(url != sources[0] for url, _ in clips)
    assert (cut["per_hour"], cut["left_s"]) == (0, None)


def test_what_failed_for_good_or_was_turned_down_is_not_left(small_corpus: Path) -> None:
    rows = load_pairs(small_corpus / PAIRS_NAME)
    gone = [dataclasses.replace(row, status="failed", error_class="gone") for row in rows]
    write_pairs(small_corpus / PAIRS_NAME, gone)
    for url in {row.source_url for row in rows}:
        record(small_corpus, "source", url, "failed", 2 * HOUR_S, error_class="gone")
    assert status(small_corpus, NOW_S)["rates"] == []
    record(small_corpus, "cut", "a", "failed", 2 * HOUR_S, error_class="disk_full")
    assert [(row["stage"], row["left"]) for row in status(small_corpus, NOW_S)["rates"]] == [
        ("cut", 1)
    ]


def test_the_slowest_five_of_each_stage_are_named_with_their_source(small_corpus: Path) -> None:
    clip = next(row for row in load_pairs(small_corpus / PAIRS_NAME) if row.clip_id)
    record(small_corpus, "cut", "k", "ok", 9.0, took_s=70.0, result={"clip_id": clip.clip_id})
    for number in range(7):
        url = f"https://example.org/{number}"
        record(small_corpus, "source", str(number), "ok", 9.0, took_s=number, result={"url": url})
    cut, *sources = status(small_corpus, NOW_S)["slowest"]
    assert (cut["item"], cut["source"]) == ("k", f"{clip.work_id} {clip.source_url}")
    assert [(one["item"], one["took_s"]) for one in sources] == [
        (str(number), number) for number in (6, 5, 4, 3, 2)
    ]
    assert sources[0]["source"] == "https://example.org/6"


@pytest.mark.parametrize("columns", [80, 40])
def test_the_tables_fit_the_terminal_and_the_folder_stays_as_it_is(
    small_corpus: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    url = f"https://example.org/watch?v={'x' * 40}"
    slug = "A-Composer-With-A-Very-Long-Name-String-Quartet-No-2-in-e-minor-Op-8"
    record(small_corpus, "page", slug, "failed", 9.0, error_class="tls_chain_incomplete")
    record(small_corpus, "source", url, "ok", 9.0, result={"url": url}, took_s=1234.5)
    files = [path for path in small_corpus.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    code, out, err = earscribe("status", "--data", small_corpus)
    assert (code, err) == (commands.DONE, "")
    assert all(len(line) <= columns or len(line.split()) == 1 for line in out.splitlines())
    assert {path: path.read_bytes() for path in small_corpus.rglob("*") if path.is_file()} == before


def test_a_folder_without_a_ledger_is_one_line_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing has been run"):
        status(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_ledger_without_an_index_tells_what_it_has(tmp_path: Path) -> None:
    record(tmp_path, "page", "a", "ok", 9.0)
    code, out, _ = earscribe("status", "--data", tmp_path, "--json")
    told = json.loads(out)
    assert (code, told["data"], told["made"]) == (commands.DONE, str(tmp_path), [])
    assert len(told["items"]) == 1
    assert sorted(contents(tmp_path)) == [".lock", LEDGER_NAME]


def test_a_hundred_thousand_items_take_no_second(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / LEDGER_NAME) as db:
        db.executemany(
            "INSERT INTO items VALUES ('source', ?, 'ok', NULL, NULL, '{}', 1, ?)",
            ((f"{number:011}", NOW_S - number) for number in range(100_000)),
        )
        db.executemany(
            "INSERT INTO attempts VALUES ('source', ?, 'ok', NULL, NULL, ?, ?, '{}')",
            ((f"{n:011}", NOW_S - n - n % 97, NOW_S - n) for n in range(100_000)),
        )
    db.close()
    took_s = []
    for _ in range(3):  # the least is without what other tests cost the machine
        begun = time.process_time()
        found = status(tmp_path, NOW_S)
        took_s.append(time.process_time() - begun)
    assert min(took_s) < 1.0
    assert found["items"][0]["number"] == 100_000
    assert [row["took_s"] for row in found["slowest"]] == [96.0] * 5
