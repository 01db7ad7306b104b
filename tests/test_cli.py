"""The command line as a person meets it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from small_model import hollow_checkpoint
from test_pairing import FILES, OFFSETS, work
from typer.testing import CliRunner

import cli
from crawler import commands
from crawler.items import write_works
from crawler.ledger import LEDGER_NAME, Ledger, State
from crawler.summary import Summary
from dataset.index import load_pairs, write_pairs
from dataset.pairs import pair_id
from dataset.splits import SplitConfig, split

ROOT = Path(__file__).parent.parent
SLUG = work().work_id
FIRST = pair_id(SLUG, (1,), "Ours", 0, FILES.recording_id)
HEAVY = {
    "torch",
    "torchaudio",
    "transformers",
    "scrapy",
    "twisted",
    "pandas",
    "pyarrow",
    "duckdb",
    "numpy",
    "av",
    "matplotlib",
    "yt_dlp",
    "sacrebleu",
}


def earscribe(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command in this process."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def all_commands() -> list[str]:
    groups = {"": cli.app, "import ": cli.imports}
    return [
        prefix + (command.name or command.callback.__name__)
        for prefix, group in groups.items()
        for command in group.registered_commands
    ]


@pytest.mark.parametrize("name", all_commands())
def test_every_command_has_help_with_an_example_and_the_common_options(name: str) -> None:
    code, out, _ = earscribe(*name.split(), "--help")
    assert code == 0
    assert f"Example: earscribe {name}" in out
    for option in ("--data", "--config", "--json", "--verbose"):
        assert option in out


def test_help_groups_the_stages_in_the_order_of_the_journey() -> None:
    _, out, _ = earscribe("--help")
    stages = "crawl pair fetch validate split report export train evaluate caption".split()
    places = [out.index(f"│ {stage} ") for stage in stages]
    assert places == sorted(places)
    assert places[-1] < out.index("Around them") < out.index("The whole")


@pytest.mark.parametrize("command", ["evaluate", "caption x.wav"])
def test_a_checkpoint_is_the_best_or_the_last(command: str, tmp_path: Path) -> None:
    call = (*command.split(), "--run", tmp_path / "none", "--checkpoint")
    (tmp_path / "x.wav").touch()
    assert earscribe(*call, "first")[0] == 2
    assert "'best'" in earscribe(*call, "first")[2]
    assert earscribe(*call, "last")[0] == 1


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['earscribe', 'train', '--help']\n"
        "import cli\n"
        "try: cli.app()\n"
        "except SystemExit: pass\n"
        "import json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(json.loads(ran.stdout.splitlines()[-1]))
    assert "typer" in loaded
    assert not loaded & HEAVY


def one_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("[crawl]\ndelay = 3\n", "unknown key 'delay' (did you mean delay_s?); known: "),
        ("[crwl]\n", "unknown section 'crwl' (did you mean crawl?); known: build, crawl"),
        ("[crawl\n", "is not TOML"),
        ('[crawl]\ndelay_s = "soon"\n', "delay_s = 'soon' is not allowed: give float"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path: Path, toml: str, line: str) -> None:
    (tmp_path / "x.toml").write_text(toml)
    code, _, err = earscribe("crawl", "--data", tmp_path, "--config", tmp_path / "x.toml")
    assert code == commands.MENDABLE
    assert line in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("pair", "--config", "/no/such.toml"), "no configuration file /no/such.toml"),
        (("pair",), "run `earscribe crawl`"),
        (("pair", "--explain", "A-Work"), "run `earscribe crawl`"),
        (("pair", "--review", "3"), "run `earscribe pair` first"),
        (("pair", "--review", "0"), "--review 0 shows nothing: give 1 or more"),
        (("pair", "--review", "3", "--explain", "A-Work"), "give one of them"),
        (("show", "0123456789abcdef"), "run `earscribe pair` first"),
        (("show", "A-Work"), "'A-Work' is no pair_id"),
        (("fetch",), "run `earscribe pair` first"),
        (("validate",), "run `earscribe pair` first"),
        (("split",), "run `earscribe pair` first"),
        (("split", "--fractions", "a,b"), "fractions = 'a' is not allowed: give float"),
        (("split", "--compat", "2022"), "--compat '2022' is not known: give released"),
        (("split", "--compat", "released", "--seed", "1"), "--seed means nothing with it"),
        (("split", "--folds", "5", "--fractions", "0.5,0.5"), "give one of them"),
        (("split", "--leaks", "x"), "there is: none yet"),
        (("report",), "run `earscribe pair` first"),
        (("status",), "nothing has been run on this folder yet"),
        (("train", "--preset", "huge"), "no preset 'huge': give one of tiny, paper"),
        (("caption", "/no/file.webm", "--run", "/no/run"), "/no/"),
        (("evaluate", "--run", "/no/run"), "/no/run"),
        (("crawl",), "give --contact"),
        (("crawl", "--reparse"), "no stored pages"),
        (("crawl", "--reparse", "--max-pages", "3"), "--max-pages means nothing"),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    code, _, err = earscribe(*arguments, "--data", tmp_path / "empty")
    assert code == commands.MENDABLE
    assert line in one_line(err)


def test_a_ledger_without_items_and_an_empty_one_are_one_line(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    code, _, err = earscribe("status", "--data", tmp_path)
    assert (code, "nothing has been run" in one_line(err)) == (commands.MENDABLE, True)
    (tmp_path / LEDGER_NAME).write_bytes(b"")
    code, _, err = earscribe("status", "--data", tmp_path)
    assert (code, "nothing has been run" in one_line(err)) == (commands.MENDABLE, True)


def test_status_tells_how_far_every_stage_has_come(small_corpus: Path) -> None:
    with Ledger(small_corpus) as ledger:
        ledger.record("page", "a", State.OK)
        ledger.record("source", "b", State.FAILED, error_class="gone")
    split(small_corpus, SplitConfig(fractions=(0.5, 0.5)))
    (small_corpus / "report.html").touch()
    run = small_corpus / "runs" / "short"
    hollow_checkpoint(run, 4)
    (run / "config.json").write_text(json.dumps({"preset": "tiny", "steps": 8}))
    code, out, _ = earscribe("status", "--data", small_corpus, "--json")
    told = json.loads(out)
    assert code == commands.DONE
    assert list(told) == ["data", "items", "rates", "slowest", "made"]
    items = [tuple(row.values()) for row in told["items"]]
    assert items == [("page", "ok", None, 1, 1, 0, 0), ("source", "failed", "gone", 1, 1, 0, 0)]
    rows = [tuple(row.values()) for row in told["made"]]
    assert ("index", "ok", None, 20) in rows
    assert ("index", "failed", "gone", 2) in rows
    assert ("index", "filtered", "too_short", 1) in rows
    assert sum(number for stage, *_, number in rows if stage == "split") == 20
    assert ("report", "ok", "report.html", 1) in rows
    assert rows[-1] == ("train", "pending", "short, of 8 steps", 4)
    code, out, _ = earscribe("status", "--data", small_corpus)
    assert code == commands.DONE
    assert max(map(len, out.splitlines())) <= 80


@pytest.fixture
def paired(tmp_path: Path) -> Path:
    """A data folder with the pairs of one work."""
    write_works(tmp_path / "works.jsonl", [work(FILES, OFFSETS)])
    assert earscribe("pair", "--data", tmp_path)[0] == commands.DONE
    return tmp_path


LOOKS = (("pair", "--explain", SLUG), ("pair", "--review", "2"), ("show", FIRST))


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("look", LOOKS)
def test_what_is_looked_at_closely_fits_the_terminal_and_is_left_as_it_is(
    paired: Path, monkeypatch: pytest.MonkeyPatch, look: tuple[str, ...], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    before = contents(paired)
    code, out, err = earscribe(*look, "--data", paired)
    assert (code, err) == (commands.DONE, "")
    long = [line for line in out.splitlines() if len(line) > columns]
    assert all(len(line.split()) == 1 or ",movements," in line for line in long)
    assert contents(paired) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_looked_at_closely_is_one_json_object(paired: Path, look: tuple[str, ...]) -> None:
    code, out, _ = earscribe(*look, "--data", paired, "--json")
    assert code == commands.DONE
    assert isinstance(json.loads(out), dict)


def test_an_unknown_work_names_the_nearest(paired: Path) -> None:
    code, out, err = earscribe("pair", "--data", paired, "--explain", SLUG.lower()[:-1])
    assert (code, out) == (commands.MENDABLE, "")
    assert f"did you mean {SLUG}?" in one_line(err)


def test_a_pair_id_explains_its_work(paired: Path) -> None:
    [first, *_] = load_pairs(paired / "pairs.parquet")
    by_pair, by_slug = (
        earscribe("pair", "--data", paired, "--explain", asked) for asked in (first.pair_id, SLUG)
    )
    assert by_pair == by_slug
    assert by_pair[0] == commands.DONE
    code, _, err = earscribe("pair", "--data", paired, "--explain", "0" * 16)
    assert (code, f"no pair '{'0' * 16}'" in one_line(err)) == (commands.MENDABLE, True)


def test_a_remark_is_called_so_in_the_column_of_movements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # a line a row
    text = "He was born in 1790 and studied with his father. The finale is fast."
    write_works(tmp_path / "works.jsonl", [work(FILES, text=text)])
    _, out, _ = earscribe("pair", "--data", tmp_path, "--explain", SLUG)
    assert "movements remark" in out and "movements 4" in out


def test_several_pairs_of_one_beginning_are_listed(paired: Path) -> None:
    index = paired / "pairs.parquet"
    ids = ("abcdef0000000000", "abcdef1111111111")
    rows = zip(load_pairs(index), ids, strict=False)
    write_pairs(index, [dataclasses.replace(row, pair_id=key) for row, key in rows])
    code, out, err = earscribe("show", "ABCDEF", "--data", paired)
    assert (code, all(key in out for key in ids)) == (commands.MENDABLE, True)
    assert "2 pairs begin with 'ABCDEF': give more of its digits" in one_line(err)
    _, out, _ = earscribe("show", "abcdef", "--data", paired, "--json")
    assert [row["pair_id"] for row in json.loads(out)["matches"]] == list(ids)


def test_a_correction_is_counted_and_a_malformed_one_is_one_line(paired: Path) -> None:
    file = paired / "overrides.csv"
    file.write_text(f"work,movement,column,value,why\n{SLUG},1,status,drop,out of tune\n")
    _, out, _ = earscribe("pair", "--data", paired)
    assert "filtered: dropped_by_hand" in out
    assert "overrides: 1\noverrides without effect: 0\n" in out
    index = (paired / "pairs.parquet").read_bytes()
    for body in (b"", b"\0", b"\xe9", b"work,why\n", file.read_bytes() + b"a,1,tempo,2,x\n"):
        file.write_bytes(body)
        code, _, err = earscribe("pair", "--data", paired)
        assert code == commands.MENDABLE
        assert str(file) in one_line(err)
    assert (paired / "pairs.parquet").read_bytes() == index


def test_a_misspelt_variable_is_named_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARSCRIBE_FETCH_WORKER", "4")
    monkeypatch.setenv("EARSCRIBE_FETCH_CUT_SAMPLE_RATE", "16000")
    write_works(tmp_path / "works.jsonl", [])
    code, _, err = earscribe("pair", "--data", tmp_path)
    assert code == commands.DONE
    told = "the variable EARSCRIBE_FETCH_WORKER is not read: did you mean EARSCRIBE_FETCH_WORKERS?"
    assert told in one_line(err)


def test_an_incomplete_stage_says_what_to_do(tmp_path: Path) -> None:
    summary = Summary(
        stage="x", total=3, counts={"ok": 1, "pending": 2}, artifact=tmp_path, incomplete=True
    )
    seen = CliRunner().invoke(perform_of(summary))
    assert seen.exit_code == commands.INCOMPLETE
    assert one_line(seen.stderr) == (
        "earscribe: x is incomplete, 2 pending: run the same command again"
    )


def perform_of(summary: Summary) -> typer.Typer:
    """A program that performs one stage, which ends with `summary`."""
    program = typer.Typer()

    @program.command()
    def stage() -> None:
        common = commands.Common(summary.artifact, {}, as_json=True)
        commands.perform(common, summary.stage, lambda progress: summary)

    return program


def test_wrong_usage_is_exit_code_2() -> None:
    assert earscribe("split", "--no-such-flag")[0] == commands.USAGE
    assert earscribe("export", "zip", "folder")[0] == commands.USAGE


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = earscribe(
        "crawl",
        "--address",
        "A-Work",
        "--data",
        tmp_path / "file" / "data",
        "--site",
        "http://127.0.0.1:9",
    )
    assert code == commands.MENDABLE
    assert "cannot write to the data folder" in one_line(err)


def test_an_output_without_every_letter_gets_a_mark_for_the_others(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>Dvořák (1841-1904)</p><p>Trio</p><p>(for trio)</p><p>I. Allegro</p>")
    result = CliRunner(charset="ascii").invoke(cli.app, ["probe", str(page), "--url", "Dvorak"])
    assert result.exit_code == 0 and "Dvo??k" in result.output
