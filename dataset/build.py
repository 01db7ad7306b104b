"""The whole: crawl or import, pair, fetch, validate, split and report, from one configuration."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from crawler.crawl import CrawlConfig, crawl, wanted_pages
from crawler.errors import UserError
from crawler.files import write_atomic
from crawler.holdings import missing_pages
from crawler.options import layered
from crawler.released import import_released
from crawler.summary import Summary, silent
from crawler.urls import is_loopback
from dataset import fetch as fetching
from dataset.fetch import TYPICAL_BYTES, FetchConfig, fetch, what_is_known
from dataset.filters import read_predicate
from dataset.ids import SEEDS_NAME, import_ids
from dataset.index import PAIRS_NAME
from dataset.overrides import OVERRIDES_NAME
from dataset.pairing import WORKS_NAME, PairConfig, pair
from dataset.report import report
from dataset.schema import PAIRS_SCHEMA
from dataset.splits import SplitConfig, split
from dataset.tables import TableConfig, import_table
from dataset.validate import validate

BUILD_NAME = "build.json"  # in a data folder: what its last build was made with
RECORDINGS_A_PAGE = 2_252 / 793  # in the 2022 study: YouTube ids by works
PAGE_BYTES = 30_000  # of a stored page
SECRETS = ("proxy", "extractor_args")  # of [fetch], not kept

Work = Callable[..., Summary]  # takes `progress`


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a corpus comes from, and where it goes."""

    source: Literal["crawl", "released", "table", "ids"] = "crawl"
    path: Path | None = None  # the study's folder, the table, or the release of ids
    data: Path | None = None  # the data folder, unless --data gives another
    replica_port: int | None = None  # serve the demo's replica there while building

    def __post_init__(self) -> None:
        if (self.path is None) != (self.source == "crawl"):
            wanted = {
                "crawl": "leave it out: a crawl has its [crawl] site and seeds",
                "released": "give the folder with the study's three files",
                "table": "give the table's file",
                "ids": "give what `earscribe export ids` wrote",
            }[self.source]
            raise UserError(f"[build] path = {self.path} for source {self.source!r}: {wanted}")


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """The settings of every stage; each field is a table of the configuration file."""

    build: Origin = field(default_factory=Origin)
    crawl: CrawlConfig = field(default_factory=CrawlConfig)
    table: TableConfig = field(default_factory=TableConfig)
    pair: PairConfig = field(default_factory=PairConfig)
    fetch: FetchConfig = field(default_factory=FetchConfig)
    split: SplitConfig = field(default_factory=SplitConfig)


def build_config(base: Any, toml: Mapping[str, Any]) -> Any:
    """A BuildConfig (or one with more fields) under a file's tables and the environment."""
    return replace(
        base,
        **{
            item.name: layered(getattr(base, item.name), item.name, toml=toml)
            for item in dataclasses.fields(base)
        },
    )


def stages(data: Path, config: BuildConfig) -> Iterator[tuple[str, Work]]:
    """The stages in order, each as (name, work to be called with `progress`).

    A stage that is finished does no work again. UserError for settings that cannot be, before
    anything is done.
    """
    yield from _origin(data, config)
    if config.build.source != "table":
        yield "pair", partial(pair, data, config.pair)
    yield "fetch", partial(fetch, data, config.fetch)
    # Of a split that is damaged or out of date the next stage makes another.
    yield "validate", partial(validate, data, but={config.split.name})
    yield "split", partial(split, data, config.split)
    yield "report", partial(report, data)


def _origin(data: Path, config: BuildConfig) -> Iterator[tuple[str, Work]]:
    """The stages up to works.jsonl, or for a table up to the index."""
    source, path = config.build.source, config.build.path or Path()
    if source == "released":
        yield "import", partial(import_released, data, path)
    elif source == "table":
        yield "import", partial(import_table, data, path, config.table)
    elif source == "ids":
        yield "import", partial(import_ids, data, path)
    if source == "crawl":
        yield "crawl", partial(crawl, data, config.crawl)
    elif source == "ids" and (data / SEEDS_NAME).is_file():
        seeds = replace(config.crawl, seeds=(), seeds_file=data / SEEDS_NAME)
        yield "crawl", partial(crawl, data, seeds)


def refuse(config: BuildConfig) -> None:
    """UserError for what would end a build after its first hours, or before its first page."""
    site = config.crawl.site
    crawls = config.build.source in ("crawl", "ids") and config.build.replica_port is None
    if crawls and not is_loopback(site) and not config.crawl.contact:
        raise UserError(
            f"[crawl] contact is not given, and {urlsplit(site).netloc} is to know who asks: "
            'give contact = "you@example.org"'
        )
    if config.split.predicate is not None:
        read_predicate(config.split.predicate, PAIRS_SCHEMA)


def keep(data: Path, config: BuildConfig) -> None:
    """Write build.json: the settings in force, but for secrets."""
    told = dataclasses.asdict(config)
    told["fetch"].update({name: "(given)" for name in SECRETS if told["fetch"].get(name)})
    data.mkdir(parents=True, exist_ok=True)
    body = json.dumps({"earscribe_build": 1, **told}, default=str, indent=2) + "\n"
    write_atomic(data / BUILD_NAME, body.encode())


# ---------------------------------------------------------------- what it would take


def plan(data: Path, config: BuildConfig) -> list[dict[str, Any]]:
    """Requests, hours and gigabytes of the stages that ask for something; writes nothing.

    Recordings of pages that are not there yet are guessed from the 2022 study.
    """
    if config.build.replica_port is not None:
        site = f"http://127.0.0.1:{config.build.replica_port}"
        config = replace(config, crawl=replace(config.crawl, site=site))
    with tempfile.TemporaryDirectory() as trial:
        rehearse(data, config, Path(trial))
        pages = _pages_left(data, config, Path(trial))
        index = data if (data / PAIRS_NAME).is_file() else Path(trial)
        known = fetching.plan(index, config.fetch) if (index / PAIRS_NAME).is_file() else None
    return [
        *([_crawl_row(pages, config)] if config.build.source in ("crawl", "ids") else []),
        _fetch_row(round(pages * RECORDINGS_A_PAGE), known.details if known else {}, config),
    ]


def rehearse(data: Path, config: BuildConfig, trial: Path) -> None:
    """The stages up to the index that ask for nothing, done in another folder."""
    for known in (WORKS_NAME, OVERRIDES_NAME):
        if (data / known).is_file():
            shutil.copy(data / known, trial)
    for stage, work in stages(trial, config):
        if stage == "import" or (stage == "pair" and (trial / WORKS_NAME).is_file()):
            work(progress=silent)


def _pages_left(data: Path, config: BuildConfig, trial: Path) -> int:
    """Pages that a crawl would ask for."""
    if config.build.source not in ("crawl", "ids"):
        return 0
    asked, seeds = config.crawl, trial / SEEDS_NAME
    if config.build.source == "ids":
        if not seeds.is_file():  # a release of tables alone
            return 0
        asked = replace(asked, seeds=(), seeds_file=seeds)
    with what_is_known(data) as ledger:
        return len(missing_pages(data, ledger, wanted_pages(asked), 0.0))


def _crawl_row(pages: int, config: BuildConfig) -> dict[str, Any]:
    return {
        "stage": "crawl",
        "requests": pages,
        "hours": round(pages * config.crawl.delay_s / 3600, 2),
        "gigabytes": round(pages * PAGE_BYTES / 1e9, 2),
        "from": f"pages not there yet, {config.crawl.delay_s:g} s between two",
    }


def _fetch_row(guessed: int, known: Mapping[str, Any], config: BuildConfig) -> dict[str, Any]:
    told = int(known.get("sources to fetch", 0))
    guess = f", {guessed} guessed, {RECORDINGS_A_PAGE:.1f} a page as in the 2022 study"
    return {
        "stage": "fetch",
        "requests": guessed + told,
        "hours": round((guessed + told) / config.fetch.budget.per_hour, 2),
        "gigabytes": round(guessed * TYPICAL_BYTES / 1e9 + known.get("gigabytes", 0.0), 2),
        "from": f"{told} recordings of known works" + (guess if guessed else ""),
    }
