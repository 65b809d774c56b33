"""Moving forecasts: what is played, in which frames, and how far it is said to be off."""

import base64
import gzip
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from measured_reports import evaluation_of, example, prediction_reports
from report_page_reader import Page

from marrow.report.forecasts import Example, forecasts_html, seen
from marrow.report.page import write_report
from marrow.skeleton.layout import KINECT_V1_20
from marrow.viewer.motion import ABSENT, player_script


def test_the_error_of_a_drifting_forecast_is_said_beside_the_baselines():
    # 4 mm a frame at 25 frames per second: 10 frames ahead 40 mm, 25 frames 100 mm; the baselines drift by 8, 10, 6.
    html, _ = forecasts_html(evaluation_of(prediction_reports()), "reel-1")
    told = "400 ms ahead 40 mm off (zero velocity 80 mm, constant velocity 100 mm, linear regression 60 mm); "
    told += "1000 ms ahead 100 mm off (zero velocity 200 mm, constant velocity 250 mm, linear regression 150 mm)."
    assert html.count(told) == 2


def test_all_frames_are_played_and_the_observed_ones_are_counted():
    html, reel = forecasts_html(evaluation_of(prediction_reports()), "reel-1")
    assert reel is not None
    assert [len(motion.values) for motion in reel.motions] == [50] * 4
    assert {motion.seconds for motion in reel.motions} == {2.0}
    # Three pictures of each of two windows: of one truth and one forecast.
    found = re.findall(r"data-clip='(\d+)' data-forecast='(\d+)' data-observed='(\d+)' data-draws='(\w+)'", html)
    kinds = ("truth", "forecast", "both")
    assert found == [(str(2 * n), str(2 * n + 1), "25", kind) for n in range(2) for kind in kinds]
    # The same until the last observed frame; then the forecast drifts off by 4 mm, two units of the reel, a frame.
    truth, forecast = (motion.values.astype(int) for motion in reel.motions[:2])
    np.testing.assert_array_equal(truth[:25], forecast[:25])
    apart = np.linalg.norm((forecast - truth)[25:], axis=-1).mean((1, 2))
    np.testing.assert_allclose(apart, 2.0 * np.arange(1, 26), atol=1.0)


def test_joints_without_a_position_are_not_drawn():
    joints = np.ones((2, 20, 3), np.float32)
    joints[0, 5] = 0.0
    present = seen(joints, KINECT_V1_20)
    assert not present[0, 5]
    assert present.sum() == 39
    # A source may put the origin at the centre of the body: there, zero is a position.
    joints[:, KINECT_V1_20.anchors["centre"]] = 0.0
    assert seen(joints, KINECT_V1_20).all()
    assert not seen(np.zeros((1, 20, 3), np.float32), KINECT_V1_20).any()


def test_absent_joints_count_neither_in_the_error_nor_in_the_picture():
    values = example(0, 0.004)
    for part in ("observed", "truth"):
        for frame in values[part]:
            frame[5] = [0, 0, 0]
    one = Example.of(values)
    assert one.errors_mm(KINECT_V1_20)[-1] == pytest.approx(100.0, abs=0.1)
    reports = prediction_reports((1,))
    reports[0].detail["examples"] = [values]
    _, reel = forecasts_html(evaluation_of(reports), "reel-1")
    assert reel is not None
    assert all((motion.values[:, :, 5] == ABSENT).all() for motion in reel.motions)


def test_without_examples_or_skeleton_nothing_moves():
    evaluation = evaluation_of(prediction_reports())
    evaluation.runs[0].description.clear()
    assert forecasts_html(evaluation, "reel-1") == ("", None)
    reports = prediction_reports()
    for report in reports:
        report.detail = {}
    assert forecasts_html(evaluation_of(reports), "reel-1") == ("", None)


def _run(make_run):
    evaluation = evaluation_of(prediction_reports((1,)))
    folder = make_run("run1", 1, evaluated=False)
    evaluation.save(folder / "reports" / "xsub.json")
    return folder


def test_the_page_holds_the_reel_of_its_forecasts_also_without_a_store(make_run, tmp_path):
    page = Page(write_report([_run(make_run)], tmp_path / "report.html"))
    reel = page.given("forecasts-1-0")
    assert reel["joints"] == 20
    assert len(reel["bones"]) == 19
    assert len(gzip.decompress(base64.b64decode(reel["frames"]))) == 4 * 50 * 20 * 3 * 2
    assert "data-reel='forecasts-1-0'" in page.text
    assert "mind the terms of the recordings" in page.said


def test_without_clips_no_motion_is_in_the_page(make_run, tmp_path):
    page = Page(write_report([_run(make_run)], tmp_path / "report.html", clips=False))
    assert "forecasts-1-0" not in page.ids
    assert "Forecasts, moving" not in page.said
    assert "Motion prediction" in page.said


def test_the_player_draws_grey_until_the_last_observed_frame(tmp_path):
    """The real script, on a canvas that writes down its colours."""
    _, reel = forecasts_html(evaluation_of(prediction_reports()), "reel-1")
    assert reel is not None
    page = (
        """
        const colours = new Set(), words = [];
        const context = new Proxy({}, {
          get: (_, name) => name === "fillText" ? (text) => words.push(text) : () => {},
          set: (_, name, value) => { if (name === "strokeStyle") colours.add(value); return true; },
        });
        const canvas = (draws) => ({
          dataset: { clip: "0", forecast: "1", observed: "25", draws }, clientWidth: 300, clientHeight: 200,
          addEventListener() {}, getContext: () => context,
        });
        const canvases = ["truth", "forecast", "both"].map(canvas);
        const root = {
          id: "g", dataset: { reel: "r", together: "yes" },
          querySelectorAll: () => canvases, querySelector: () => null,
        };
        globalThis.window = { matchMedia: () => ({ matches: true }), addEventListener() {}, devicePixelRatio: 1 };
        globalThis.document = { querySelectorAll: () => [root] };
        globalThis.IntersectionObserver = class { observe() {} };
        globalThis.requestAnimationFrame = () => {};
        """
        + player_script()
        + f"Marrow.play({{ r: {json.dumps(reel.payload())} }}).then((groups) => {{"
        + """
          const seen = (stage, frame) => {
            colours.clear(); words.length = 0;
            groups.g.goTo(frame / 49 * 2.0); colours.clear(); words.length = 0; stage.draw();
            return [...colours].sort().concat(words);
          };
          const [truth, forecast, both] = groups.g.stages;
          console.log(JSON.stringify([
            seen(both, 24), seen(truth, 35), seen(forecast, 35), seen(both, 35),
            new Set(groups.g.stages.map((stage) => stage.time)).size,
          ]));
        });
        """
    )
    node = shutil.which("node")
    assert node, "Node must be on the path, see CONTRIBUTING.md"
    done = subprocess.run([node, "-e", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grey, truth, magenta, floor = "#a3aab5", "#3c4149", "#c2417f", "#e4e7ec"
    # Frame 35 is the eleventh after the last observed one, number 24: 11 / 25 = 0.44 seconds.
    assert json.loads(done.stdout) == [
        [grey, floor, "observed"],
        [truth, floor, "+0.44 s"],
        [magenta, floor, "+0.44 s"],
        [truth, magenta, floor, "+0.44 s"],
        1,
    ]
