"""The whole from one file: built, stopped, killed, planned, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from typer.testing import CliRunner

import cli
from crawler.errors import UserError
from crawler.options import refuse_unknown_sections
from crawler.summary import silent
from dataset.build import BuildConfig, build_config, plan, refuse, stages
from dataset.ids import IDS_VERSION
from dataset.index import load_pairs
from dataset.pairs import pair_id
from demo.run import CORPUS
from demo.site import Replica, serve

ROOT = Path(__file__).parent.parent
STAGES = ["crawl", "pair", "fetch", "validate", "split", "report"]
WORKS = (
    "Erwin-Schulhoff-String-Quartet-No-1",
    "Teresa-Carreno-String-Quartet-in-b-minor",
)
FILES = ("pairs.parquet", "splits/default/split.json", "splits/default/train.parquet")


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with serve(CORPUS) as served:
        yield served


def config_file(folder: Path, replica: Replica) -> Path:
    path = folder / "mine.toml"
    path.write_text(
        f"""
        [build]
        data = "{folder / "data"}"
        [crawl]
        site = "{replica.address}"
        video_url = "{replica.address}/watch?v={{id}}"
        delay_s = 0
        seeds = {list(WORKS)}
        [fetch]
        allow_loopback = true
        min_free_mb = 1
        measures = "basic"
        [fetch.budget]
        per_hour = 100000
        [split]
        fractions = [0.5, 0.5]
        """
    )
    return path


def start(config: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "build", "--config", str(config), "--json", *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(process: subprocess.Popen[str], stage: str) -> None:
    """Read what it prints up to the end of a stage."""
    assert process.stdout
    for line in process.stdout:
        if json.loads(line)["stage"] == stage:
            return
    raise AssertionError(f"it ended before {stage}: {process.stderr and process.stderr.read()}")


def finish(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def asked(replica: Replica, first: int) -> Counter[str]:
    """Pages and recordings that were asked for since a request."""
    paths = (one.path for one in replica.requests[first:])
    return Counter(path for path in paths if path.startswith(("/chamber-music/", "/media/")))


@pytest.fixture(scope="module")
def built(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of an undisturbed build."""
    folder = tmp_path_factory.mktemp("built")
    first = len(replica.requests)
    code, summaries, err = finish(start(config_file(folder, replica)))
    assert code == 0, err
    assert [one["stage"] for one in summaries] == STAGES
    assert asked(replica, first)
    assert max(asked(replica, first).values()) == 1
    return folder / "data"


@pytest.mark.slow
@pytest.mark.xdist_group("build")
def test_a_second_build_does_nothing_again(built: Path, replica: Replica) -> None:
    first = len(replica.requests)
    before = {name: (built / name).read_bytes() for name in FILES}
    code, summaries, err = finish(start(built.parent / "mine.toml"))
    assert code == 0, err
    assert {one["stage"]: one["work_done"] for one in summaries} == dict.fromkeys(STAGES, 0)
    assert {name: (built / name).read_bytes() for name in FILES} == before
    assert not asked(replica, first)
    kept = json.loads((built / "build.json").read_text())
    assert kept["split"]["fractions"] == [0.5, 0.5]
    assert (built / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.xdist_group("build")
@pytest.mark.parametrize("stage", ["crawl", "pair", "fetch"])
def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(
    built: Path, replica: Replica, tmp_path: Path, stage: str
) -> None:
    config, first = config_file(tmp_path, replica), len(replica.requests)
    killed = start(config)
    if stage != "crawl":
        until(killed, {"pair": "crawl", "fetch": "pair"}[stage])
    while len(replica.requests) < first + (2 if stage == "crawl" else 0):
        assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    code, summaries, err = finish(start(config))
    assert code == 0, err
    assert [one["stage"] for one in summaries] == STAGES
    for name in FILES:
        assert (tmp_path / "data" / name).read_bytes() == (built / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.xdist_group("build")
def test_ctrl_c_says_to_run_it_again(replica: Replica, tmp_path: Path) -> None:
    stopped = start(config_file(tmp_path, replica))
    until(stopped, "crawl")
    os.kill(stopped.pid, signal.SIGINT)
    code, summaries, err = finish(stopped)
    assert code == 75
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert "report" not in [one["stage"] for one in summaries]


def invoke(*words: str) -> Any:
    return CliRunner().invoke(cli.app, ["build", *words])


def test_a_dry_run_says_what_it_takes_and_writes_nothing(replica: Replica, tmp_path: Path) -> None:
    config, first = config_file(tmp_path, replica), len(replica.requests)
    result = invoke("--config", str(config), "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    crawl, fetch = json.loads(result.output)["plan"]
    assert (crawl["stage"], crawl["requests"]) == ("crawl", len(WORKS))
    assert (fetch["stage"], fetch["requests"]) == ("fetch", round(len(WORKS) * 2252 / 793))
    assert "guessed" in fetch["from"]
    assert len(replica.requests) == first
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
    assert invoke("--config", str(config), "--dry-run").exit_code == 0


def test_a_plan_counts_what_an_import_would_bring(tmp_path: Path) -> None:
    released = ROOT / "tests" / "fixtures" / "released"
    toml = {"build": {"source": "released", "path": str(released)}}
    (fetch,) = plan(tmp_path / "data", build_config(BuildConfig(), toml))
    assert fetch["requests"] > 0
    assert "guessed" not in fetch["from"]
    assert not (tmp_path / "data").exists()


def test_a_plan_of_a_release_counts_its_own_pages(tmp_path: Path) -> None:
    release = tmp_path / "release.jsonl"
    works = [f"Some-Work-No-{number}" for number in (1, 2, 3)]
    facts = [
        {
            "pair_id": pair_id(work, (1,), "Notes", 0, "v1"), "work_id": work, "level": "movement",
            "movements": [1], "recording_id": "v1", "note_source": "Notes", "text_index": 0,
            "page_url": f"http://127.0.0.1:8421/chamber-music/{work}/", "source_url": "x",
            "youtube_id": None, "start_s": None, "end_s": None, "bounds_source": "page",
            "actual_start_s": 0.0, "actual_end_s": 1.0, "sample_rate": 16_000,
            "num_samples": 16_000, "pcm_md5": "0" * 32, "caption_sha256": "0" * 64,
        }
        for work in works
    ]  # fmt: skip
    lines = [{"earscribe_ids": IDS_VERSION, "pairs": len(facts)}, *facts]
    release.write_text("".join(json.dumps(line) + "\n" for line in lines))
    toml = {"build": {"source": "ids", "path": str(release), "replica_port": 8421}}
    crawl, fetch = plan(tmp_path / "data", build_config(BuildConfig(), toml))
    assert (crawl["requests"], fetch["requests"]) == (3, round(3 * 2252 / 793))


def test_texts_beside_files_of_ones_own_are_built_without_a_crawl(
    built_corpus: Path, tmp_path: Path
) -> None:
    lines = ["said,path,name,who"]
    for number, clip in enumerate(sorted((built_corpus / "clips").rglob("*.flac"))[:6]):
        samples, rate = soundfile.read(clip)
        soundfile.write(tmp_path / f"{number}.wav", samples, rate)
        lines.append(f"A caption of number {number} and no other.,{number}.wav,{number},C{number}")
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    toml = {
        "build": {"source": "table", "path": str(tmp_path / "mine.csv")},
        "table": {"text": "said", "file": "path", "title": "name", "composer": "who"},
        "fetch": {"min_clip_s": 0.1, "min_free_mb": 1},
        "split": {"folds": 3},
    }
    config = build_config(BuildConfig(), toml)
    refuse(config)
    made = {name: work(progress=silent) for name, work in stages(tmp_path / "data", config)}
    assert list(made) == ["import", "fetch", "validate", "split", "report"]
    assert {pair.status for pair in load_pairs(tmp_path / "data" / "pairs.parquet")} == {"ok"}
    assert made["split"].counts == {"fold0": 2, "fold1": 2, "fold2": 2}
    part = tmp_path / "data" / "splits" / "default" / "fold1.parquet"
    part.write_bytes(b"PAR1")
    again = {name: work(progress=silent) for name, work in stages(tmp_path / "data", config)}
    assert not again["validate"].details["findings"]
    assert (again["fetch"].work_done, again["split"].work_done) == (0, 1)
    assert len(load_pairs(part)) == 2


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("", "build wants --config FILE"),
        ("[build]\nsource = 'crawl'", "contact is not given, and www.earsense.org is to know"),
        ("[build]\nsource = 'web'", "give one of crawl, released, table, ids"),
        ("[build]\nsource = 'table'", "for source 'table': give the table's file"),
        ("[build]\npath = 'x'", "for source 'crawl': leave it out"),
        ("[build]\nsource = 'released'\npath = 'nowhere'", "nowhere"),
        ("[built]\n", "unknown section 'built' (did you mean build?)"),
        ("[build]\nsauce = 1", "unknown key 'sauce' (did you mean source?)"),
        ("[crawl]\ncontact = 'a@b.c'\n[split]\nwhere = 'yeer > 1'", "unknown column 'yeer'"),
        ("[crawl]\ncontact = 'a@b.c'\n[split]\npreset = 'papper'", "no preset 'papper'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_done(
    tmp_path: Path, toml: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(toml)
    result = invoke("--config", str(path), "--data", str(tmp_path / "data"))
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "data" / "works.jsonl").exists()


@pytest.mark.parametrize("name", ["demo.toml", "earsense.toml"])
def test_the_shipped_files_are_whole_and_found_by_their_names(name: str, tmp_path: Path) -> None:
    shipped = ROOT / "data" / name
    toml = tomllib.loads(shipped.read_text())
    refuse_unknown_sections(toml, cli.SECTIONS)
    config = build_config(BuildConfig(), toml)
    assert config.build.data is not None
    for line in shipped.read_text().splitlines():
        value = line.partition("=")[2]
        assert not value or "#" in line, f"{name}: {line} is not explained"
    assert cli.program.found(Path(name)) == shipped
    assert cli.program.found(Path("other.toml")) == Path("other.toml")
    assert cli.program.found(Path("x") / name) == Path("x") / name


def test_the_demo_file_names_every_work_of_the_demo() -> None:
    from demo.run import seeds

    config = build_config(BuildConfig(), tomllib.loads((ROOT / "data" / "demo.toml").read_text()))
    assert set(config.crawl.seeds) == set(seeds()[:-2])


def test_secrets_are_not_kept(tmp_path: Path) -> None:
    from dataset.build import keep

    toml = {"fetch": {"proxy": "http://user:secret@127.0.0.1:9", "extractor_args": ["a:b=secret"]}}
    keep(tmp_path / "data", build_config(BuildConfig(), toml))
    assert "secret" not in (tmp_path / "data" / "build.json").read_text()


def test_a_build_needs_a_source_that_is_there() -> None:
    with pytest.raises(UserError, match="give what `earscribe export ids` wrote"):
        build_config(BuildConfig(), {"build": {"source": "ids"}})
