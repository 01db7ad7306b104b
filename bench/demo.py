"""How long the demo takes, how much memory, and what a second run does: python -m bench.demo."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMITS = {"first_s": 300.0, "peak_gb": 3.0, "second_s": 20.0, "second_work": 0}


@dataclass(frozen=True)
class Run:
    """One whole `earscribe demo` as a process."""

    wall_s: float
    peak_gb: float  # resident set of the process at its largest
    stages: dict[str, dict[str, Any]]  # stage -> its summary
    stage_s: dict[str, float]  # stage -> seconds until its summary was printed


def run_demo(data: Path, port: int, steps: int | None) -> Run:
    """Run the demo command; CalledProcessError when it does not end with 0."""
    command = [sys.executable, "-m", "cli", "demo", "--json"]
    command += ["--data", str(data), "--port", str(port)]
    command += ["--steps", str(steps)] if steps else []
    begun = last = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    stages, stage_s = {}, {}
    for line in process.stdout:
        now = time.monotonic()
        summary = json.loads(line)
        stages[summary["stage"]] = summary
        stage_s[summary["stage"]], last = now - last, now
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return Run(time.monotonic() - begun, usage.ru_maxrss / 1e6, stages, stage_s)


def figures(first: Run, second: Run) -> dict[str, Any]:
    """What is reported, as plain values."""
    work = {name: summary["work_done"] for name, summary in second.stages.items()}
    return {
        "cores": os.cpu_count(),
        "machine": platform.platform(),
        "first_s": round(first.wall_s, 1),
        "peak_gb": round(first.peak_gb, 2),
        "stages_s": {name: round(seconds, 1) for name, seconds in first.stage_s.items()},
        "second_s": round(second.wall_s, 1),
        "second_requests": second.stages["replica"]["total"],
        "second_work": sum(work.values()),
        "second_over_first": round(second.wall_s / first.wall_s, 3),
    }


def main() -> int:
    """Measure, print, and end with 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="an empty folder (default: a temporary one)")
    parser.add_argument("--port", type=int, default=8422)
    parser.add_argument("--steps", type=int, help="updates of the training")
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = given.data or Path(temporary) / "demo-run"
        result = figures(*(run_demo(data, given.port, given.steps) for _ in range(2)))
    print(f"earscribe demo on {result['cores']} cores")
    for stage, seconds in result["stages_s"].items():
        print(f"  {stage:<12} {seconds:8.1f} s")
    missed = [name for name, limit in LIMITS.items() if result[name] > limit]
    for name, limit in LIMITS.items():
        verdict = "MISSED" if name in missed else "held"
        print(f"{name:<14} {result[name]:>8}   limit {limit:>6}   {verdict}")
    print(f"second run: {result['second_requests']} requests")
    if given.json:
        print(json.dumps(result))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
