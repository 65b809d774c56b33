"""A worked example of every command and what it takes: for `marrow COMMAND --help`, the site and the benchmark.

The examples follow each other in one folder: each finds there what those before it have left. What no command makes
(recordings, a checkpoint, a second run) `benchmarks/command_times.py` puts there; it runs all of them and prints what
they take, which is how the numbers below are made anew. They are nowhere else.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A command line that runs as it stands.

    Args:
        line: what a person types.
        seconds: processor seconds of one core.
        mib: the most memory that the process had.
        data: what it was measured on, in words.
    """

    line: str
    seconds: float
    mib: int
    data: str

    @property
    def cost(self) -> str:
        """What it takes, in words and rounded."""
        minutes = f"{self.seconds / 60:.0f} min" if self.seconds >= 90 else f"{self.seconds:.0f} s"
        time = f"about {minutes}" if self.seconds >= 1 else "under a second"
        return f"{time} of one core and {max(self.mib / 1024, 0.1):.1f} GiB of memory"


_CLIPS = "540 synthetic clips of 30 actions by 6 people"
_FILES = "200 BVH files of 8 seconds"

EXAMPLES = {
    "doctor": Example("marrow doctor", 10.1, 890, "with its try of the whole way"),
    "prepare": Example("marrow prepare synthetic --out stores/synthetic --options.subjects 6", 3.0, 148, _CLIPS),
    "import": Example("marrow import recordings --out stores/mine", 4.8, 217, _FILES),
    "layouts": Example("marrow layouts kinect_v2_25", 0.3, 44, "one layout"),
    "inspect": Example("marrow inspect stores/synthetic", 2.1, 189, _CLIPS),
    "pretrain": Example(
        "marrow pretrain --recipe own --store stores/synthetic --protocol xsub --out runs/first --max_steps 100",
        *(20.5, 1160, "100 steps on the training half of 540 synthetic clips; without --max_steps ten minutes"),
    ),
    "evaluate": Example("marrow evaluate runs/first --store stores/synthetic --protocol xsub", 14.9, 1000, _CLIPS),
    "labels": Example("marrow labels --store stores/synthetic --protocol xsub --out labels.json", 0.7, 136, _CLIPS),
    "finetune": Example(
        "marrow finetune runs/first --store stores/synthetic --protocol xsub --out runs/first_tuned --epochs 5 "
        "--schedule.warmup_epochs 1",
        *(45.2, 2517, "5 epochs of 270 synthetic clips, and once more without a quarter of the people"),
    ),
    "predict": Example("marrow predict runs/first_tuned stores/synthetic --csv answers.csv", 11.7, 1004, _CLIPS),
    "forecast": Example(
        "marrow forecast models/motion_prediction walk.bvh --out next_second.csv", 5.9, 577, "a recording of 8 seconds"
    ),
    "convert-weights": Example(
        "marrow convert-weights mamp released.pth --out encoders/mamp", 3.4, 410, "a checkpoint of the paper's size"
    ),
    "report": Example("marrow report runs/first --out report.html", 11.1, 1066, "a run that was evaluated"),
    "compare": Example("marrow compare runs/first runs/second --out compare.html", 5.6, 478, "two evaluated runs"),
    "grid": Example(
        "marrow grid quick_synthetic --store stores/synthetic --out runs/grid",
        *(53.6, 857, "four runs of 20 steps, and their scores"),
    ),
    "unseen": Example(
        "marrow unseen --store mine=stores/mine --store synthetic=stores/synthetic --on synthetic --protocol xsub "
        "--seconds 60 --seeds 0 --out runs/unseen",
        *(163.4, 1676, "two runs of a minute, and their scores"),
    ),
    "embed": Example("marrow embed general recordings --out features.parquet", 7.3, 821, _FILES),
    "export": Example("marrow export runs/first_tuned --out wave.onnx", 13.6, 817, "a recogniser of 30 classes"),
    "neighbours": Example(
        "marrow neighbours general stores/synthetic --query S000C0R0A003 --page near.html", 11.1, 838, _CLIPS
    ),
    "pack": Example("marrow pack runs/first --out packed", 4.6, 464, "an encoder"),
    "parity": Example("marrow parity mamp mamp_parity.npz", 3.1, 331, "tests/golden/mamp_parity.npz of the checkout"),
    "demo": Example("marrow demo --quick", 19.8, 1128, "without --quick four minutes"),
}


def example_text(name: str) -> str:
    """Return what the help of a command ends with; "" where there is no such command."""
    example = EXAMPLES.get(name)
    return f"example, {example.cost} ({example.data}):\n  {example.line}" if example else ""
