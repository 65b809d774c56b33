"""The parts of a page in which skeletons move, on a run of three steps."""

import json
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest
from report_page_reader import Page

from marrow import InputConfig, PretrainConfig, SkeletonSequence, evaluate, pretrain, write_store
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives.mamp import MAMPConfig
from marrow.readers.base import Split
from marrow.report.clips import frames_per_clip
from marrow.report.page import write_report
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.skeleton.sequence import Record
from marrow.store.format import Store
from marrow.viewer.motion import Reel, pack_motion


def _store(folder, shift=0.0):
    rng = np.random.default_rng(0)
    sequences = []
    for number in range(24):
        label, half = number % 2, number // 2 % 2
        joints = np.linspace(0, 1.7, 20)[None, None, :, None] + rng.normal(0, 0.02, (1 + half, 16, 20, 3)) + shift
        joints[:, :, :, label] += 0.3 * np.sin(np.arange(16))[None, :, None]
        record = Record(f"clip{number}", label=label, attributes={"half": half})
        present = np.ones(joints.shape[:3], bool)
        sequences.append(SkeletonSequence(joints.astype(np.float32), present, 30.0, KINECT_V1_20, record))
    split = Split(lambda record: record.attributes["half"] == 0, lambda record: record.attributes["half"] == 1)
    return write_store(folder, sequences, source="test", classes=("nod", "<wave>"), splits={"xhalf": split})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that was trained, and scored, on a store of 24 clips."""
    folder = tmp_path_factory.mktemp("trained")
    store = _store(folder / "store")
    config = PretrainConfig(
        store=store.path,
        out=folder / "run",
        protocol="xhalf",
        input=InputConfig(window_frames=8),
        encoder=PatchTransformerConfig(width=16, depth=1, heads=2),
        objective=MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2, mask_ratio=0.75),
        batch_clips=6,
        max_steps=3,
        device="cpu",
    )
    pretrain(config)
    evaluate(folder / "run", store, "xhalf", tasks=("knn",))
    return folder


@pytest.fixture(scope="module")
def page(trained):
    return Page(write_report([trained / "run"], trained / "page.html", device="cpu"))


def test_every_part_is_there(page):
    assert {"map-plot", "map-players", "map-caption", "map-class", "reel", "map-points"} <= page.ids
    for title in ("Map of the features", "What was hidden, and what was predicted", "Nearest neighbours"):
        assert f"<h3>{title}</h3>" in page.text
    assert "holds motion of" in page.said, "third-party recordings are named"
    assert "--no-clips" in page.said
    assert "standardised patch by patch" in page.said
    assert "the predicted motion leads on" in page.said


def test_every_canvas_plays_a_clip_that_is_there(page):
    reel, points = page.given("reel"), page.given("map-points")
    count = len(reel["clips"])
    assert len(points) == 12, "all test clips are on the map"
    assert {point[1] for point in points} == {"nod", "<wave>"}
    assert all(0 <= point[0] < count and abs(point[4]) <= 1 and abs(point[5]) <= 1 for point in points)
    drawn = json.dumps(page.given("figures")["map-plot"]["data"])
    assert all(f'"{name}"' in drawn for name in ("nod", "<wave>"))
    numbers = [
        int(word) for word in page.text.replace("'", '"').split('data-clip="')[1:] for word in [word.split('"')[0]]
    ]
    assert numbers
    assert max(numbers) < count
    # Pictures: of 8 frames in 2 patches and 20 joints, int(40 * 0.25) = 10 tokens stay visible: 75 % are hidden.
    assert page.said.count("75 % of joints hidden") == 2, "one picture per class"


def test_right_and_wrong_neighbours_differ_in_word_and_shape(page):
    assert page.text.count("class='query'") == 6
    shown = page.text.count("figure class='right'") + page.text.count("figure class='wrong'")
    assert shown == 18
    assert page.said.count("same class") >= page.text.count("figure class='right'")


def test_without_clips_nothing_of_the_recordings_is_in_the_page(trained):
    page = Page(write_report([trained / "run"], trained / "plain.html", clips=False))
    assert "reel" not in page.ids
    assert "canvas" not in page.open
    assert "<canvas" not in page.text.partition("<script")[0]
    assert "left out on request" in page.said


def test_a_changed_store_is_not_shown(trained, tmp_path):
    _store(tmp_path / "other", shift=1.0)
    page = Page(write_report([trained / "run"], tmp_path / "page.html", store=tmp_path / "other"))
    assert "holds other data than the one that run used" in page.said
    assert "reel" not in page.ids


def test_a_removed_store_is_said(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(trained / "store"), str(tmp_path / "gone")))
    environment = tmp_path / "run" / "environment.json"
    environment.write_text(environment.read_text().replace(str(trained / "store"), str(tmp_path / "gone")))
    page = Page(write_report([tmp_path / "run"], tmp_path / "page.html"))
    assert "is not at" in page.said
    assert "name the place with --store" in page.said
    assert "Scores on xhalf" in page.said


def test_without_checkpoints_and_evaluation_the_map_stays(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.rmtree(tmp_path / "run" / "reports")
    page = Page(write_report([tmp_path / "run"], tmp_path / "page.html", device="cpu"))
    assert "Not evaluated yet" in page.said
    assert "map-plot" in page.ids
    assert "keeps no checkpoint with its decoder" in page.said


def test_the_store_is_not_touched(trained, page):
    Store.open(trained / "store").verify()


def test_the_largest_page_stays_below_ten_megabytes():
    """Noise cannot be compressed: no recordings take more space than these."""
    clips, rng = 258, np.random.default_rng(0)
    frames = frames_per_clip(clips, 2.0, 25)
    reel = Reel(KINECT_V2_25)
    for _ in range(clips):
        joints = rng.uniform(-20, 20, (2, frames, 25, 3)).astype(np.float32)
        reel.add(pack_motion([(joints, np.ones(joints.shape[:3], bool))], KINECT_V2_25, 15.0, 60)[0])
    # plotly.js, the charts of 120 classes and everything else take less than 3 MB (test_many_classes: 4 at most).
    assert len(json.dumps(reel.payload())) < 6_500_000
    assert frames_per_clip(300, 1.0, 17) == 60
    assert frames_per_clip(10_000, 2.0, 70) == 12


@pytest.mark.parametrize("script", ["report/page.js", "viewer/player.js"])
def test_scripts_are_well_formed(script):
    node = shutil.which("node")
    assert node, "Node must be on the path, see CONTRIBUTING.md"
    path = files("marrow").joinpath(script)
    done = subprocess.run([node, "--check", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "innerHTML" not in path.read_text(encoding="utf-8"), "names of classes are text, never HTML"
