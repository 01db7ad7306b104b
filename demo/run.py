"""The whole journey on the replica, from its pages to a scored captioner."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from crawler.crawl import CrawlConfig, crawl
from crawler.items import read_works
from crawler.options import layered
from crawler.summary import Progress, Summary
from dataset.fetch import FetchConfig, fetch
from dataset.pairing import PairConfig, pair
from dataset.splits import SplitConfig
from demo.site import Replica, serve
from model.config import PRESETS, GenerateConfig

CORPUS = Path(__file__).parent.parent / "data" / "demo"
GONE = "Nobody-String-Quartet-No-0"  # a page that the replica answers with 404
RUN = "tiny"

Work = Callable[[Progress], Summary]


def seeds() -> tuple[str, ...]:
    """Every work of the demo corpus, its article, and a page that is gone."""
    works = tuple(work.work_id for work in read_works(CORPUS / "works.jsonl"))
    return (*works, GONE)


def journey(
    data: Path, toml: Mapping[str, Any], *, port: int = 8421, steps: int | None = None
) -> Iterator[tuple[str, Work]]:
    """The stages in order, each as (name, work to be called with a progress callback).

    The replica is served while the iterator is alive. A finished stage does no work again.
    UserError when the port is taken.
    """
    with serve(CORPUS, port=port) as replica:
        yield from stages(data, toml, replica, steps)


def stages(
    data: Path, toml: Mapping[str, Any], replica: Replica, steps: int | None
) -> Iterator[tuple[str, Work]]:
    """The stages of `journey` on a replica that is being served."""
    crawling = CrawlConfig(
        site=replica.address,
        seeds=seeds(),
        delay_s=0.05,
        video_url=replica.address + "/watch?v={id}",
    )
    fetching = FetchConfig(allow_loopback=True)
    splitting = SplitConfig(fractions=(0.6, 0.2, 0.2))
    crawl_config = layered(crawling, "crawl", toml=toml)
    pair_config = layered(PairConfig(), "pair", toml=toml)
    fetch_config = layered(fetching, "fetch", toml=toml)
    split_config = layered(splitting, "split", toml=toml)
    train_config = layered(PRESETS["tiny"], "train", toml=toml, flags={"steps": steps})
    generate_config = layered(GenerateConfig(), "generate", toml=toml)
    run = data / "runs" / RUN

    yield "crawl", lambda progress: crawl(data, crawl_config, progress)
    yield "pair", lambda progress: pair(data, pair_config, progress)
    yield "fetch", lambda progress: fetch(data, fetch_config, progress)
