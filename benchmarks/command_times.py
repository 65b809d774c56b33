"""What the worked example of every command takes (`marrow.cli.examples`): processor seconds and the largest memory.

    python benchmarks/command_times.py

The examples run one after the other, one thread, in a folder that is removed. What no command makes is written first:
BVH files, and a checkpoint of random weights in the layout of the released ones. Processor seconds, because they depend
less than the clock on what else the machine does; in most commands, 3 to 5 of them load PyTorch. --quick leaves out
what takes over a minute.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from import_speed import write_files
from marrow.cli.examples import EXAMPLES

_RECORDED = Path(__file__).parents[1] / "tests" / "golden" / "mamp_parity.npz"
# Commands that an example rests on, and that are no example themselves.
_BEFORE = {
    "forecast": (
        "pretrain --recipe own --store stores/mine --out runs/mine --max_steps 5",
        "evaluate runs/mine --store stores/mine --protocol k-fold:5#0 --tasks motion_prediction --quick --keep models",
    ),
    "compare": (
        "pretrain --recipe own --store stores/synthetic --protocol xsub --out runs/second --max_steps 20 --seed 1",
        "evaluate runs/second --store stores/synthetic --protocol xsub",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what takes over a minute")
    quick = parser.parse_args().quick
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_files(work / "recordings", 200, 240)
        shutil.copy(work / "recordings" / "walk" / "take00000.bvh", work / "walk.bvh")
        shutil.copy(_RECORDED, work)
        # In a process of its own: those that are measured begin with the memory of this one.
        writer = get_context("spawn").Process(target=_write_released, args=(work / "released.pth",))
        writer.start()
        writer.join()
        for name, example in EXAMPLES.items():
            if quick and example.seconds > 60:
                continue
            for line in _BEFORE.get(name, ()):
                _run(f"marrow {line}", work)
            used = _run(example.line, work)
            rows.append({"command": example.line, "written": [example.seconds, example.mib], **used})
            print(f"{used['seconds']:6.1f} s ({example.seconds:.1f}) {used['mib']:5d} MiB  {example.line}", flush=True)
    print(json.dumps({"commands": rows}))


def _run(line: str, work: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *shlex.split(line)]
    with (work / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"command_times: `{line}` failed:\n{(work / 'said.txt').read_text()}")
    return {"seconds": round(usage.ru_utime + usage.ru_stime, 2), "mib": round(usage.ru_maxrss / 1024)}


def _write_released(path: Path) -> None:
    """Write random weights of the paper's size (256 wide, 8 + 5 blocks), named as in the small model of the tests."""
    import torch

    with np.load(_RECORDED) as archive:
        small = {name.removeprefix("weights/"): archive[name] for name in archive.files if name.startswith("weights/")}
    larger = {32: 256, 96: 768, 128: 1024, 6: 30}
    weights = {}
    for name, value in small.items():
        blocks = re.sub(r"^((?:decoder_)?blocks)\.0\.", r"\1.{}.", name)
        for number in range(5 if name.startswith("decoder_") else 8):
            weights[blocks.format(number)] = torch.randn([larger.get(size, size) for size in value.shape])
    torch.save({"model": weights}, path)


if __name__ == "__main__":
    main()
