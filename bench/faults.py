"""A fetch of the demo with a fault in every recording, and others without: bench.faults."""

import argparse
import dataclasses
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from crawler.crawl import crawl
from crawler.ledger import Ledger, State
from dataset.budget import BudgetConfig
from dataset.fetch import FetchConfig, fetch
from dataset.pairing import PairConfig, pair
from demo.run import CORPUS, at, demo_config
from demo.site import serve

FAULTS = (
    "403 404 410 429 500 503 later html empty binary reset truncate drip cut-gzip no-range "
    "wrong-range nameless corrupt length-above length-below flood"
).split()
CONFIG = FetchConfig(
    allow_loopback=True, measures="basic", min_free_mb=0, timeout_s=3, max_attempt_s=10, attempts=2,
    backoff_s=0.1, max_source_mb=20, budget=BudgetConfig(per_hour=100_000, breaker_s=0.5),
)  # fmt: skip


def figures(folder: Path) -> dict[str, Any]:
    """What became of every recording and row: with the faults, without them, and once more."""
    videos: dict[str, Any] = json.loads((CORPUS / "media.json").read_text())
    fault_of = dict(zip(videos, FAULTS, strict=False))
    with serve(CORPUS) as replica:
        crawl(folder, at(demo_config({}).crawl, replica))
        pair(folder, PairConfig(recordings="all"))
        replica.faults |= {media(video, videos): fault for video, fault in fault_of.items()}
        begun = time.monotonic()
        first = fetch(folder, CONFIG)
        took_s = time.monotonic() - begun
        with Ledger(folder, read_only=True) as ledger:
            sources = ledger.entries("source")
        replica.faults.clear()
        asked = len(replica.requests)
        second = fetch(folder, dataclasses.replace(CONFIG, retry="failed"))
        third = fetch(folder, CONFIG)
        again = {one.path for one in replica.requests[asked:]}
    finished = [item for item, entry in sources.items() if entry.state is State.OK]
    ends = {item: entry.error_class or entry.state.value for item, entry in sources.items()}
    return {
        "table": sorted(
            (fault_of.get(item, ""), ends[item], (sources[item].message or "")[:56])
            for item in sources
        ),
        "recordings": len(sources),
        "by_class": dict(sorted(Counter(ends.values()).items())),
        "rows": first.counts,
        "adds_up": sum(first.counts.values()) == first.total,
        "incomplete": first.incomplete,
        "took_s": round(took_s, 1),
        "rows_without_faults": second.counts,
        "left_without_faults": third.incomplete,
        "finished_and_asked_again": sum(media(item, videos) in again for item in finished),
    }


def media(video: str, videos: dict[str, Any]) -> str:
    """The path of a recording's file on the replica."""
    return f"/media/{video}{Path(videos[video]['file']).suffix}"


def main() -> int:
    """Run, print, and end with 1 when counts do not add up or something was done twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"cores": os.cpu_count(), "machine": platform.platform()} | figures(Path(folder))
    for fault, became, message in result["table"]:
        print(f"{fault:<14} {became:<14} {message}")
    for name, value in result.items():
        if name != "table":
            print(f"{name:<26} {value}")
    if given.json:
        print(json.dumps(result))
    lost = result["finished_and_asked_again"] or result["left_without_faults"]
    return 0 if result["adds_up"] and not lost else 1


if __name__ == "__main__":
    sys.exit(main())
