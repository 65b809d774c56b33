"""How long each command takes on built-in synthetic motion: processor seconds and the largest memory, as a table.

    python benchmarks/command_times.py

540 clips of 30 actions by 6 people (--quick: 180 by 2), one thread, one process, in a folder that is removed. Processor
seconds, because they depend less than the clock on what else the machine does; in most, 3 to 5 of them load PyTorch.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = """
doctor
prepare synthetic --out store --options.subjects {subjects} --jobs 1
inspect store
layouts
predict general store --examples few --csv answers.csv
embed general --store store --out features.npy
evaluate general --store store --protocol xsub --tasks linear_probe,knn
neighbours general store --query S000C0R0A003 --page near.html
pretrain --recipe mamp_synthetic --store store --out run --max_steps {steps} --threads 1
evaluate run --store store --protocol xsub --tasks linear_probe,knn
finetune run --store store --protocol xsub --out tuned --epochs {epochs} --schedule.warmup_epochs 0
predict tuned store --csv tuned.csv
report run --out report.html
compare run --out compare.html
labels --store store --protocol xsub --out labels.json
pack run --out packed
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few clips, few steps")
    quick = parser.parse_args().quick
    sizes = {"subjects": 2 if quick else 6, "steps": 5 if quick else 100, "epochs": 1 if quick else 5}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        prepared = ["prepare", "synthetic", "--out", "few", "--options.subjects", "1", "--options.seed", "7"]
        subprocess.run([sys.executable, "-m", "marrow", *prepared], cwd=work, env=environment, capture_output=True)
        for line in COMMANDS.format(**sizes).strip().splitlines():
            command = [sys.executable, "-m", "marrow", *shlex.split(line)]
            done, used = _run(command, work, environment)
            if done != 0:
                raise SystemExit(f"command_times: `marrow {line}` failed with {done}")
            rows.append({"command": f"marrow {line}", **used})
            print(f"| `marrow {line}` | {used['seconds']:.1f} | {used['mib']:.0f} |", flush=True)
    print(json.dumps({"commands": rows}))


def _run(command: list[str], work: Path, environment: dict[str, str]) -> tuple[int, dict[str, float]]:
    with (work / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = usage.ru_utime + usage.ru_stime
    return os.waitstatus_to_exitcode(status), {"seconds": round(seconds, 2), "mib": round(usage.ru_maxrss / 1024)}


if __name__ == "__main__":
    main()
