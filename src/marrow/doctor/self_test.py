"""The whole way in ten seconds: synthetic recordings, store, training, nearest neighbours, and back from the disk."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from marrow.doctor import Finding, Unanswered, ask

_PROTOCOL = "xsub"
_STEPS = 20
_CODE = """
import json, sys
from marrow.doctor.self_test import stages
print(json.dumps(list(stages(sys.argv[1]))))
"""


def examine_by_trying(timeout_seconds: float = 300.0) -> list[Finding]:
    """Run the self-test in a process of its own, in a temporary folder."""
    mend = "run it with MARROW_DEBUG=1 `marrow demo --quick` to see where it happens"
    try:
        with tempfile.TemporaryDirectory(prefix="marrow-doctor-", ignore_cleanup_errors=True) as folder:
            stages = ask(_CODE, folder, timeout_seconds=timeout_seconds)
    except (Unanswered, OSError) as error:
        return [Finding("FAIL", "self-test", f"broke off: {error}", mend)]
    return [Finding(level, "self-test", text, "" if level == "PASS" else mend) for level, text in stages]


def stages(folder: str) -> Iterator[tuple[str, str]]:
    """Go through the stages, and yield how each went; the first that fails is the last."""
    logging.getLogger("marrow").setLevel(logging.ERROR)
    results: dict[str, Any] = {}
    for name, stage in _STAGES.items():
        began = time.monotonic()
        try:
            text = stage(Path(folder), results)
        except Exception as error:  # whatever breaks is what the person has to know
            yield "FAIL", f"{name}: {type(error).__name__}: {error}"
            return
        yield "PASS", f"{name}: {text} ({time.monotonic() - began:.1f} s)"


def _prepare(folder: Path, results: dict[str, Any]) -> str:
    import marrow
    from marrow.readers import get_reader_class

    store = marrow.prepare(get_reader_class("synthetic")(subjects=2), ".", folder / "store")
    results["store"] = store
    return f"{len(store)} synthetic clips of {len(store.classes)} actions in a store"


def _pretrain(folder: Path, results: dict[str, Any]) -> str:
    import marrow
    from marrow.models.patch_transformer import PatchTransformerConfig
    from marrow.objectives.mamp import MAMPConfig

    config = marrow.PretrainConfig(
        store=results["store"].path,
        out=folder / "run",
        protocol=_PROTOCOL,
        input=marrow.InputConfig(window_frames=32, alignment="body"),
        encoder=PatchTransformerConfig(width=32, depth=2, heads=2, patch_frames=8),
        objective=MAMPConfig(target="joint", decoder_width=32, decoder_heads=2, decoder_depth=1),
        batch_clips=16,
        max_steps=_STEPS,
    )
    last = marrow.pretrain(config).last
    results["run"] = folder / "run"
    return f"{last['step']} steps, loss {last['loss']:.3f}, {last['clips_per_second']:.0f} clips per second"


def _neighbours(folder: Path, results: dict[str, Any]) -> str:
    import marrow
    from marrow.tasks.summary import numbers

    evaluation = marrow.evaluate(results["run"], results["store"], _PROTOCOL, tasks=["knn"], baselines=[])
    [score, *_] = numbers(evaluation)["scores"]
    chance = 100.0 / len(results["store"].classes)
    if score["mean"] <= chance:
        raise ValueError(f"nearest neighbours find {score['mean']:.1f} % of the classes, chance is {chance:.1f}")
    return f"nearest neighbours right for {score['mean']:.0f} % of another person's clips, chance {chance:.1f}"


def _read_back(folder: Path, results: dict[str, Any]) -> str:
    import torch

    from marrow.data.sampling import evaluation_batches
    from marrow.models.export import load_encoder
    from marrow.pretraining import load_objective

    store = results["store"]
    [batch] = evaluation_batches(
        store, store.split_rows(_PROTOCOL)[1][:8], load_encoder(results["run"]).input, 8, "cpu"
    )
    with torch.inference_mode():
        exported = load_encoder(results["run"])(batch).pooled()
        trained = load_objective(results["run"]).encoder(batch).pooled()
    if not torch.equal(exported, trained):
        raise ValueError("the exported encoder and the one of the checkpoint give different features")
    return "the exported encoder gives the features of the trained one, bit for bit"


_STAGES: dict[str, Callable[[Path, dict[str, Any]], str]] = {
    "prepare": _prepare,
    "pretrain": _pretrain,
    "evaluate": _neighbours,
    "export": _read_back,
}
