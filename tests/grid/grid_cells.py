"""Finished cells made by hand: no training, known predictions."""

import json

import yaml

from marrow.grid.cells import Cell
from marrow.store.format import Store
from marrow.tasks.base import Report
from marrow.tasks.encoders import facts_of
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.version_1 import declared
from marrow.train.run_directory import plain

TEST_CLIPS, COPIES = 10, 2


def finish(cell: Cell, store: Store, wrong: int, *, cpu_seconds: float = 100.0, baselines: bool = False) -> None:
    """Write what the commands of a cell leave: an encoder that is wrong about the first so many test clips."""
    _pretrained(cell, store, cpu_seconds)
    label = [row % 2 for row in range(TEST_CLIPS)]

    def report(source: str, task: str, wrong: int, seed: int) -> Report:
        predicted = [value ^ (clip < wrong) for clip, value in enumerate(label)]
        mark = {"run": cell.folder.name} if source == "trained" else {}
        percent = 100.0 * (TEST_CLIPS - wrong) / TEST_CLIPS
        report = Report(
            task,
            {"top1_percent": percent},
            predictions={"top1": predicted},
            seed=seed,
            num_labels_used=10,
            source=source,
            fingerprints=mark,
        )
        return declared(report)

    reports = [report("trained", "knn/pooled", wrong, cell.seed)]
    if baselines:
        reports += [report("random", "knn/pooled", 5, cell.seed), report("raw", "knn/raw", 1, 0)]
    evaluation = EvaluationReport(
        protocol="xview",
        store=store.fingerprint,
        classes=["sit", "stand"],
        train_count=10,
        test_rows=list(range(TEST_CLIPS, 2 * TEST_CLIPS)),
        test_labels=label,
        test_copied=[clip < COPIES for clip in range(TEST_CLIPS)],
        runs=[facts_of(cell.folder, 0)],
        reports=reports,
        settings={"probe_seed": 0},
    )
    evaluation.save(cell.folder / "reports" / "xview.json")


def _pretrained(cell: Cell, store: Store, cpu_seconds: float) -> None:
    (cell.folder / "encoder").mkdir(parents=True)
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(plain(cell.config)))
    (cell.folder / "environment.json").write_text(json.dumps([{"store": {"fingerprint": store.fingerprint}}]))
    description = {"kind": "patch_transformer", "provenance": {"method": "MAMP", "seed": cell.seed}}
    (cell.folder / "encoder" / "encoder.json").write_text(json.dumps(description))
    (cell.folder / "encoder" / "encoder.safetensors").write_bytes(f"weights of {cell.name}".encode())
    last = {"step": 1000, "loss": 0.5, "cpu_seconds": cpu_seconds + cell.seed, "peak_memory_mib": 600.0}
    first = {**last, "step": 500, "peak_memory_mib": 700.0 + cell.seed}
    (cell.folder / "log.jsonl").write_text(json.dumps(first) + "\n" + json.dumps(last) + "\n")
    (cell.folder / "result.json").write_text(json.dumps(last))
