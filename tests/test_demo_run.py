"""What the demo refuses and counts, without running it."""

import dataclasses
import json
import socket
from pathlib import Path

import pytest
from small_model import hollow_checkpoint

from crawler.errors import UserError
from crawler.ledger import LEDGER_NAME, Ledger, State
from crawler.summary import silent
from demo.run import CORPUS, DemoConfig, journey, learn, requests
from demo.site import Request, serve
from model.config import PRESETS
from model.runs import config_to_json


def begun_with(data: Path, url: str) -> None:
    with Ledger(data) as ledger:
        ledger.record("page", "A", State.FAILED, error_class="gone")
        ledger.record("page", "B", State.OK, result={"url": url})


def first_stage(data: Path, port: int) -> str:
    stages = journey(data, DemoConfig(), port=port)
    name, _ = next(stages)
    stages.close()
    return name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_folder_begun_on_another_port_is_refused_by_its_port(tmp_path: Path) -> None:
    port = free_port()
    begun_with(tmp_path, f"http://127.0.0.1:{port}/chamber-music/B/")
    with pytest.raises(UserError, match=f"begun with --port {port}: give it again .*--data"):
        first_stage(tmp_path, port - 1)
    assert first_stage(tmp_path, port) == "crawl"


def test_a_folder_of_the_real_site_is_refused(tmp_path: Path) -> None:
    begun_with(tmp_path, "https://www.example.org/chamber-music/B/")
    with pytest.raises(UserError, match="begun with www.example.org: give another folder"):
        first_stage(tmp_path, free_port())


def test_a_new_folder_and_one_with_an_empty_ledger_begin(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).touch()
    assert first_stage(tmp_path, free_port()) == "crawl"
    assert first_stage(tmp_path / "new", free_port()) == "crawl"


def test_other_steps_are_told_with_what_the_demo_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "tiny"
    hollow_checkpoint(run, 4)
    begun = dataclasses.replace(PRESETS["tiny"], steps=8)
    (run / "config.json").write_text(json.dumps(config_to_json(begun)))
    monkeypatch.setattr("model.runs.split_hashes", lambda data, split: {"name": split})
    config = DemoConfig(train=dataclasses.replace(begun, steps=9))
    with pytest.raises(UserError, match=r"train.steps 8, not 9.* another folder with --data$"):
        learn(tmp_path, config, silent)


def test_odd_request_lines_are_counted(tmp_path: Path) -> None:
    paths = ("/", "/watch?v=1", "/media/a.webm", "nonsense", "*", "//[", "/robots.txt?")
    with serve(CORPUS) as replica:
        for path in paths:
            replica.note(Request("GET", path, 404, None))
        summary = requests(replica, tmp_path, silent)
    assert summary.total == len(paths)
    assert {"watch", "media", "nonsense", "robots.txt"} < set(summary.counts)
