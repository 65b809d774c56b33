"""Seven actions from five examples each: what `marrow predict general` answers on recordings in other styles.

    python benchmarks/five_examples.py FOLDER

FOLDER holds the BVH files of Bandai-Namco-Research-Motiondataset-1 (anywhere below it). Of each action the first five
files by name are the examples, the others are asked about. Printed: how many answers are right, unknown and wrong, and
the processor seconds of the one command.
"""

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ACTIONS = ("bow", "bye", "dash", "guide", "run", "walk-back", "walk-left")
EXAMPLES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default="general", help="an encoder")
    parser.add_argument("--quick", action="store_true", help="nothing: this needs the recordings")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("five_examples: give the folder of Bandai-Namco-Research-Motiondataset-1; nothing was measured")
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "asked").mkdir()
        for action in ACTIONS:
            files = sorted(arguments.folder.rglob(f"dataset-1_{action}_*.bvh"))
            if len(files) <= EXAMPLES:
                raise SystemExit(f"five_examples: expected more than {EXAMPLES} files of {action!r}, got {len(files)}")
            (work / "examples" / action).mkdir(parents=True)
            for number, file in enumerate(files):
                shutil.copy(file, work / "examples" / action if number < EXAMPLES else work / "asked")
        command = [sys.executable, "-m", "marrow", "predict", arguments.model, str(work / "asked")]
        command += ["--examples", str(work / "examples"), "--csv", str(work / "answers.csv")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with (work / "answers.csv").open(encoding="utf-8") as stream:
            answers = [(row["recording"].split("_")[1], row["answer"]) for row in csv.DictReader(stream)]
    right = sum(action == answer for action, answer in answers)
    unknown = sum(answer == "unknown" for _, answer in answers)
    print(f"{len(answers)} recordings: {right} right, {unknown} unknown, {len(answers) - right - unknown} wrong")
    print(f"{used.ru_utime + used.ru_stime:.1f} processor seconds")


if __name__ == "__main__":
    main()
