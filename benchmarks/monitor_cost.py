"""What the monitor costs: one run at the default cadence, its processor seconds beside those of its monitor.

    python benchmarks/monitor_cost.py [--quick] [--cpu_seconds 120]

Claim: less than 2 % of the process's CPU time. Recordings are synthetic, and the encoder is that of the demo. The
monitor's own account, which it steers by and logs, is checked against a second clock around every call. The last line
is one JSON object: `ratio` is the share in percent by the second clock.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import marrow
from marrow.cli.demo import _settings
from marrow.readers import get_reader_class
from marrow.train import monitor
from marrow.train.logs import read_log
from marrow.train.verdict import judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a run of 30 processor seconds")
    parser.add_argument("--cpu_seconds", type=float, default=120.0, help="length of the run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--loader", default="auto", choices=("auto", "resident", "streaming"))
    arguments = parser.parse_args()
    length = 30.0 if arguments.quick else arguments.cpu_seconds
    spent: list[float] = []
    original = monitor.Monitor.__call__

    def timed(self: monitor.Monitor, entry: Any) -> dict[str, float]:
        began = time.process_time()
        numbers = original(self, entry)
        spent.append(time.process_time() - began)
        return numbers

    monitor.Monitor.__call__ = timed
    with tempfile.TemporaryDirectory() as folder:
        store = marrow.prepare(get_reader_class("synthetic")(), ".", Path(folder) / "store")
        settings = replace(
            _settings(store.path, Path(folder) / "run", quick=False),
            max_minutes=None,
            max_cpu_seconds=length,
            threads=arguments.threads,
            loader=arguments.loader,
        )
        result = marrow.pretrain(settings)
        log = read_log(result.folder / "log.jsonl")
    last = result.last
    measured = [entry for entry in log if "effective_rank" in entry]
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {settings.loader} loader, {last['step']} steps")
    for entry in measured:
        print(
            f"  step {entry['step']:6d} {100 * entry['progress']:5.1f} %  neighbours "
            f"{entry['nearest_neighbour_percent']:5.1f} %  rank {entry['effective_rank']:5.1f}  "
            f"spread {entry['feature_spread_percent']:5.1f} %  monitor {entry['monitor_cpu_seconds']:.2f} s"
        )
    own, second, run = last["monitor_cpu_seconds"], sum(spent), last["cpu_seconds"]
    print(f"run {run:.2f} processor seconds; monitor {own:.2f} by its own account, {second:.2f} by the second clock")
    print(judge(log))
    clips = int(measured[-1]["monitor_clips"]) if measured else 0
    print(
        json.dumps({"ratio": 100 * second / run, "own_ratio": 100 * own / run, "times": len(measured), "clips": clips})
    )


if __name__ == "__main__":
    main()
