"""Every task in one call, in its smallest size, on clips and on whole recordings, down to the page."""

import numpy as np
import pytest

import marrow
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.readers.synthetic import Synthetic
from marrow.report.page import write_report
from marrow.skeleton.layout import KINECT_V2_25
from marrow.tasks import TASKS
from marrow.tasks.base import TaskContext
from marrow.tasks.summary import numbers

ON_CLIPS = {
    *("linear_probe", "logistic", "knn", "finetune", "semi_supervised", "few_shot_logistic", "few_shot_nearest_mean"),
    *("retrieval", "motion_prediction"),
}
ON_RECORDINGS = {"action_detection", "motion_prediction"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=8)
    input = marrow.InputConfig(window_frames=16, alignment="body")
    encoder = PatchTransformer(config, input, KINECT_V2_25).fresh(0)
    folder = tmp_path_factory.mktemp("run") / "tiny"
    save_encoder(encoder, folder / "encoder", {"seed": 0, "method": "none"})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "expected"), [("trimmed", ON_CLIPS), ("untrimmed", ON_RECORDINGS)])
def test_all_tasks_run_and_are_shown(run, tmp_path, kind, expected):
    store = marrow.prepare(Synthetic(subjects=2, repetitions=1, kind=kind), ".", tmp_path / "store")
    context = TaskContext(device="cpu", precision="fp32", max_steps=10)
    whole = marrow.evaluate(run, store, "xsub", tasks="all", quick=True, context=context)

    found = {report.task.partition("/")[0] for report in whole.reports if report.source == "trained"}
    assert found == expected
    named = " ".join(whole.notes)
    left_out = [name for name in TASKS if f"{name} is left out: " in named]
    assert "stream_fusion" in left_out
    assert ("action_detection" in left_out) == (kind == "trimmed")
    assert "Quick:" in named

    result = numbers(whole)
    for each in (*result["scores"], *result["measures"]):
        assert np.isfinite(each["mean"]), each
    sources = {(each["task"].partition("/")[0], each["source"]) for each in result["measures"]}
    assert {("motion_prediction", source) for source in ("trained", "random", "raw")} <= sources
    page = write_report([run], tmp_path / "report.html", title="all tasks").read_text(encoding="utf-8")
    assert "Motion prediction" in page
    assert ("<svg" in page and "Action detection" in page) == (kind == "untrimmed")
