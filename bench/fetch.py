"""How fast recordings are cut beside other ways, and what the stage adds: python -m bench.fetch."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import cutting, engine


@dataclass(frozen=True)
class Part:
    """Something that is measured."""

    figures: Callable[[Path, int], dict[str, Any]]  # (a folder of its own, minutes) -> values
    least: Mapping[str, float]
    most: Mapping[str, float]


PARTS = {
    "cutting": Part(cutting.figures, cutting.LEAST, cutting.MOST),
    "engine": Part(engine.figures, engine.LEAST, engine.MOST),
}


def verdict(part: Part, name: str, value: Any) -> str:
    """What a figure is held against, and whether it is on the right side."""
    if name not in part.least and name not in part.most:
        return ""
    limit = part.least.get(name, part.most.get(name))
    if value is None:
        return f"   limit {limit}   not measured"
    held = value >= limit if name in part.least else value <= limit
    return f"   limit {limit}   {'held' if held else 'MISSED'}"


def main() -> int:
    """Measure, print, and end with 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=30, help="of each recording")
    parser.add_argument("--part", choices=list(PARTS), help="only this (default: all)")
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": os.cpu_count(), "machine": platform.platform()}
    result["load"] = round(os.getloadavg()[0], 1)  # from others: two workers want two free cores
    print("recordings of {} minutes on {cores} cores, load {load}".format(given.minutes, **result))
    missed = False
    for title in [given.part] if given.part else list(PARTS):
        part = PARTS[title]
        with tempfile.TemporaryDirectory() as folder:
            figures = part.figures(Path(folder), given.minutes)
        for name, value in figures.items():
            judged = verdict(part, name, value)
            missed |= judged.endswith("MISSED")
            print(f"{name:<30} {value!s:>12}{judged}", flush=True)
        result |= figures
    if given.json:
        print(json.dumps(result))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
