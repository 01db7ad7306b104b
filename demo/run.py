"""The whole journey on the replica, from its pages to a scored captioner."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crawler.crawl import CrawlConfig
from crawler.errors import UserError
from crawler.items import read_works
from crawler.ledger import Ledger
from crawler.options import layered
from crawler.summary import Progress, Summary
from crawler.urls import is_loopback
from dataset.budget import BudgetConfig
from dataset.build import BuildConfig, Work, build_config, stages
from dataset.export import export_hf
from dataset.fetch import FetchConfig
from dataset.pairing import PairConfig
from dataset.splits import SplitConfig
from demo.site import Replica, serve
from model.config import PRESETS, GenerateConfig, TrainConfig
from model.runs import finished

CORPUS = Path(__file__).parent.parent / "data" / "demo"
ARTICLE = "/article/How-Four-Players-Share-One-Tune/"
GONE = "Nobody-String-Quartet-No-0"  # a page that the replica answers with 404


@dataclass(frozen=True, kw_only=True)
class DemoConfig(BuildConfig):
    """The settings of every stage of the journey; the addresses are filled in by `journey`."""

    crawl: CrawlConfig = field(default_factory=lambda: CrawlConfig(seeds=seeds(), delay_s=0.05))
    pair: PairConfig = field(default_factory=lambda: PairConfig(recordings="all"))
    fetch: FetchConfig = field(
        default_factory=lambda: FetchConfig(
            allow_loopback=True,
            audio_rights="CC0 1.0",
            budget=BudgetConfig(per_hour=100_000),  # nobody is to be spared
            min_free_mb=100.0,
        )
    )
    split: SplitConfig = field(default_factory=lambda: SplitConfig(fractions=(0.6, 0.2, 0.2)))
    train: TrainConfig = PRESETS["tiny"]
    generate: GenerateConfig = field(default_factory=GenerateConfig)


def seeds() -> tuple[str, ...]:
    """Every work of the demo corpus, its article, and a page that is gone."""
    works = [work.work_id for work in read_works(CORPUS / "works.jsonl")]
    return (*works, ARTICLE, GONE)


def demo_config(toml: Mapping[str, Any], steps: int | None = None) -> DemoConfig:
    """The demo's settings under a configuration file, the environment and the flags."""
    config: DemoConfig = build_config(DemoConfig(), toml)
    return replace(config, train=layered(config.train, "train", flags={"steps": steps}))


def journey(data: Path, config: DemoConfig, *, port: int) -> Iterator[tuple[str, Work]]:
    """The stages in order, each as (name, work to be called with `progress`).

    The replica is served while the iterator is alive; the last stage counts its requests. A
    finished stage does no work again. UserError when the port is taken or the folder was begun
    with another site.
    """
    refuse_another_site(data, port)
    with serve(CORPUS, port=port) as replica:
        yield from stages(data, replaced(config, replica))
        yield "export", partial(export_hf, data, data / "hf")
        yield "train", partial(learn, data, config)
        yield "evaluate", partial(score, data, config)
        yield "replica", partial(requests, replica, data)


def refuse_another_site(data: Path, port: int) -> None:
    """UserError when the folder's pages are not of the replica at `port`: so are its recordings."""
    with Ledger(data) as ledger:
        urls = [entry.result.get("url") for entry in ledger.entries("page").values()]
    begun = urlsplit(next(filter(None, urls), ""))
    if begun.netloc and not is_loopback(begun.geturl()):
        raise UserError(f"{data} was begun with {begun.netloc}: give another folder with --data")
    if begun.netloc and begun.port != port:
        raise UserError(
            f"{data} was begun with --port {begun.port}: give it again or another folder with "
            "--data"
        )


def at(config: CrawlConfig, replica: Replica) -> CrawlConfig:
    """A crawl of the replica in place of the site."""
    return replace(config, site=replica.address, video_url=replica.address + "/watch?v={id}")


def replaced(config: BuildConfig, replica: Replica) -> BuildConfig:
    """A build from the replica."""
    return replace(config, crawl=at(config.crawl, replica))


@contextmanager
def built_from(data: Path, config: BuildConfig) -> Iterator[BuildConfig]:
    """The configuration to build with; the replica is served meanwhile where it is asked for."""
    port = config.build.replica_port
    if port is None:
        yield config
        return
    refuse_another_site(data, port)
    with serve(CORPUS, port=port) as replica:
        yield replaced(config, replica)


def run_folder(data: Path, config: DemoConfig) -> Path:
    """Where the demo's training run lies."""
    return data / "runs" / config.train.preset


def learn(data: Path, config: DemoConfig, progress: Progress) -> Summary:
    """Train the demo's captioner (torch is imported here, when it is needed)."""
    try:
        complete = finished(data, config.train)
    except UserError as error:  # the demo has no --run
        there, here = "another name with --run", "another folder with --data"
        raise UserError(str(error).replace(there, here)) from error
    if complete:
        return complete
    from model.train import train

    return train(data, config.train, progress=progress)


def score(data: Path, config: DemoConfig, progress: Progress) -> Summary:
    """Score the demo's captioner on the test part."""
    from model.evaluate import evaluate

    run = run_folder(data, config)
    return evaluate(data, run, part="test", generate=config.generate, progress=progress)


def requests(replica: Replica, data: Path, progress: Progress) -> Summary:
    """What the replica was asked for, by kind of address."""
    kinds = Counter(re.split("[/?]", one.path.lstrip("/"))[0] for one in replica.requests)
    total = sum(kinds.values())
    return Summary(stage="replica", total=total, counts=dict(kinds), artifact=data, work_done=total)


def serve_forever(port: int, announce: Callable[[str], None]) -> None:
    """Serve the replica until Ctrl-C; `announce` gets its address."""
    with serve(CORPUS, port=port) as replica:
        announce(f"The replica is at {replica.address}/ until Ctrl-C")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return
