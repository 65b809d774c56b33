"""The page of a recogniser: its scores, and how sure its answers may be."""

from pathlib import Path

import numpy as np
import pytest
from report_page_reader import Page

from marrow.errors import DataError
from marrow.report.page import write_report
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import TestClips
from marrow.use.known import DESCRIPTION, Known
from marrow.use.unknown import Gallery

TOP1 = "top1_last"


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """Two of three test clips are named rightly; the temperature of 40 clips takes the error from 9 to 4 percent."""
    joints = np.ones((1, 4, 20, 3), np.float32)
    seen = np.ones(joints.shape[:3], np.bool_)
    sequences = [
        SkeletonSequence(joints + n, seen, 30.0, KINECT_V1_20, Record(f"{n}", label=n % 2, attributes={"half": n // 3}))
        for n in range(6)
    ]
    store = write_store(tmp_path / "store", sequences, source="test", classes=("left", "up"))
    clips = TestClips(np.arange(3, 6), np.array([1, 0, 1]), np.zeros(3, np.bool_), ("left", "up"))
    report = Report.scored(
        *("finetune", {TOP1: np.array([1, 1, 1])}, clips),
        **{"settings": {}, "asked": {}, "cost": {}, "noted": {"note": "Fine-tuned for 2 epochs."}},
        **{"seed": 0, "num_labels_used": 3, "source": "trained", "about": None},
    )
    report.fingerprints = {"store": store.fingerprint}
    folder = tmp_path / "tuned"
    folder.mkdir()
    report.save(folder / "report.json")
    (folder / "head.json").write_text("{}")
    (folder / "config.yaml").write_text(f"store: {store.path}\nprotocol: half=0 -> half=1\n")
    keep(folder, (9.0, 4.0))
    return folder


def keep(folder: Path, error_percent: tuple[float, float]) -> None:
    features = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    Known(Gallery.of(features, np.arange(9) % 2), 7.5, 1.25, 40, error_percent, "a quarter", 3.0).save(folder)


def test_scores_calibration_and_confusion_are_shown(tuned: Path, tmp_path: Path) -> None:
    page = Page(write_report([tuned], tmp_path / "page.html"))
    for words in (
        "66.7",
        "40 held-out clips (a quarter)",
        "1.25",
        "9.0",
        "4.0",
        "farther than 7.5",
        "Fine-tuned for 2",
    ):
        assert words in page.said, words
    [heat] = page.given("figures").values()
    assert heat["data"][0]["z"] == [[0.0, 100.0], [0.0, 100.0]]
    assert "does not help" not in page.said


def test_what_was_not_learned_or_is_not_there_is_said(tuned: Path, tmp_path: Path) -> None:
    (tuned / DESCRIPTION).unlink()
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    page = Page(write_report([tuned], tmp_path / "page.html"))
    assert "Not learned" in page.said
    assert "name it with --store" in page.said
    assert not page.given("figures")
    again = Page(write_report([tuned], tmp_path / "page.html", store=tmp_path / "elsewhere"))
    assert len(again.given("figures")) == 1
    (tuned / "report.json").unlink()
    with pytest.raises(DataError, match="recogniser without its scores"):
        write_report([tuned], tmp_path / "page.html")


def test_where_a_temperature_does_not_help_the_page_says_so(tuned: Path, tmp_path: Path) -> None:
    keep(tuned, (4.0, 9.0))
    assert "does not help" in Page(write_report([tuned], tmp_path / "page.html")).said
