"""Run directories made by hand: logs, settings and evaluations with known numbers."""

import json
from pathlib import Path

import pytest
import yaml

from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport, RunFacts
from marrow.tasks.version_1 import declared

FINGERPRINT = "f" * 64


def write_run(
    folder: Path,
    seed: int,
    *,
    width: int = 16,
    wrong: int = 20,
    protocol: str = "xview",
    store: str = FINGERPRINT,
    clips: int = 40,
    labels_used: int = 8,
    epochs: int = 100,
    classes: tuple[str, ...] = ("sit <down>", "stand & walk"),
    evaluated: bool = True,
    copies: int = 4,
) -> Path:
    """Write a run whose linear probe is wrong about the first `wrong` clips."""
    label = [clip % len(classes) for clip in range(clips)]
    settings = {"store": "stores/x", "out": str(folder), "method": "mamp", "protocol": protocol, "seed": seed}
    settings |= {"encoder": {"width": width}, "max_cpu_seconds": 60.0}
    description = {
        "kind": "patch_transformer",
        "config": {"width": width},
        "provenance": {"method": "MAMP", "seed": seed, "settings": settings, "store_fingerprint": store, "rows": "all"},
    }

    def report(source: str, task: str, names: tuple[str, ...], wrong: int) -> Report:
        predicted = [(value + (place < wrong)) % len(classes) for place, value in enumerate(label)]
        prints = {"run": folder.name} if source == "trained" else {}
        return Report(
            task,
            {},
            predictions=dict.fromkeys(names, predicted),
            settings={"epochs": epochs},
            noted={"best_epoch": seed},
            seed=0 if source == "raw" else seed,
            num_labels_used=labels_used,
            source=source,
            fingerprints=prints,
        )

    reports = [
        report("trained", "linear_probe/pooled", ("top1_last", "top1_best"), wrong),
        report("trained", "knn/pooled", ("top1",), wrong - 2 + seed),
        report("random", "linear_probe/pooled", ("top1_last", "top1_best"), wrong + 4),
        report("raw", "ridge/raw", ("top1",), 4),
    ]
    facts = RunFacts(folder.name, seed, description, "abc")
    copied = [clip < copies for clip in range(clips)]
    evaluation = EvaluationReport(
        protocol,
        store,
        list(classes),
        labels_used,
        list(range(clips)),
        label,
        copied,
        [facts],
        reports,
        ["A note."],
        {"probe_seed": 0},
    )
    evaluation.reports = [declared(report) for report in evaluation.reports]
    folder.mkdir(parents=True)
    if evaluated:
        evaluation.save(folder / "reports" / f"{protocol}.json")
    entries = [
        {
            "step": step,
            "epoch": step / 2,
            "loss": 1 / step,
            "loss_of_mean": 1.0,
            "cpu_seconds": 10 * width,
            "speed": step,
        }
        for step in (1, 2, 3)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    environment = {
        "started": "2026-01-01T00:00:00+0000",
        "marrow": "0.1.0",
        "commit": None,
        "python": "3.11",
        "packages": {"torch": "2.6"},
        "platform": "Linux",
        "device": "cpu",
        "precision": "fp32",
        "processes": 1,
        "store": {"path": "stores/x", "fingerprint": store, "clips": clips},
    }
    (folder / "environment.json").write_text(json.dumps([environment]))
    return folder


@pytest.fixture
def make_run(tmp_path: Path):
    """Write a run into the temporary folder: `make_run("name", seed, ...)`."""
    return lambda name, seed, **changes: write_run(tmp_path / name, seed, **changes)
