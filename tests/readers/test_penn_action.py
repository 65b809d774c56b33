"""Penn Action: what stands in its files, its two dimensions, and files that are none of it."""

import tarfile

import numpy as np
import penn_files
import pytest
import scipy.io

from marrow.errors import DataError, ParseError
from marrow.readers import SkipRecording
from marrow.readers.penn_action import PennAction
from marrow.store import Store, convert_recordings
from marrow.store.summary import summarise
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.recognition.baselines import RawBaseline


def read_one(folder, reader=None, **changes):
    reader = reader or PennAction()
    penn_files.write(folder / "0007.mat", **changes)
    (record,) = reader.records(folder)
    return reader.read(folder, record)


def test_positions_have_y_up_and_two_dimensions(tmp_path):
    sequence = read_one(tmp_path)
    assert (sequence.skeleton.dimensions, sequence.skeleton.up) == (2, "y")
    assert sequence.joints.shape == (1, 6, 15, 3)
    assert not sequence.joints[..., 2].any()
    # The head, at pixel (100, 40), with 8 mm per pixel.
    np.testing.assert_allclose(sequence.joints[0, 0, 0], [0.8, -0.32, 0], rtol=1e-6)
    np.testing.assert_allclose(sequence.placement.to_source(sequence.joints[0, 0, :1]), [[100, 40, 0]], rtol=1e-6)
    left, right = (sequence.skeleton.index(f"{side}_hip") for side in ("left", "right"))
    middle = sequence.joints[0, 3, [left, right]].mean(0)
    np.testing.assert_allclose(sequence.joints[0, 3, sequence.skeleton.index("MidHip")], middle, rtol=1e-6)


def test_a_joint_that_is_not_visible_is_absent_unless_it_is_asked_for(tmp_path):
    sequence = read_one(tmp_path)
    assert np.argwhere(~sequence.present).tolist() == [[0, 2, 3]]
    as_written = read_one(tmp_path, PennAction(unseen_as_written=True))
    assert as_written.present.all()
    np.testing.assert_allclose(as_written.joints[0, 2, 3], [0.008, -0.008, 0], rtol=1e-6)


def test_label_viewpoint_and_part_stand_in_the_file(tmp_path):
    record = read_one(tmp_path, action="squat", train=-1, pose="back").record
    assert (record.id, record.path, PennAction.classes[record.label]) == ("0007", "0007.mat", "squat")
    assert record.attributes == {"part": "test", "viewpoint": "back"}
    split = PennAction.splits["official"]
    assert (split.train(record), split.test(record)) == (False, True)


def test_the_folder_may_be_that_of_the_release(tmp_path):
    penn_files.folder_of_three(tmp_path / "labels")
    (tmp_path / "frames").mkdir()
    assert [record.path for record in PennAction().records(tmp_path)] == [f"labels/000{n}.mat" for n in (1, 2, 3)]
    with pytest.raises(DataError, match="holds no file"):
        list(PennAction().records(tmp_path / "frames"))


def test_a_video_in_which_nothing_is_visible_is_skipped(tmp_path):
    with pytest.raises(SkipRecording, match="no joint is visible in any of its 6 frames"):
        read_one(tmp_path, visibility=np.zeros((6, 13)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x": np.ones((6, 12))}, "frames × 13"),
        ({"action": "sleep"}, "got 'sleep'"),
        ({"action": 3}, "name of a class"),
        ({"train": 0}, "1 or -1"),
        ({"train": np.nan}, "1 or -1"),
        ({"y": np.full((6, 13), np.nan)}, "frame 1, head"),
        ({"x": np.full((6, 13), 1e9)}, "frame 1, head"),
    ],
)
def test_other_files_are_faults_of_their_own_records(tmp_path, changes, says):
    penn_files.folder_of_three(tmp_path)
    wrong = penn_files.write(tmp_path / "0004.mat", **changes)
    records = list(PennAction().records(tmp_path))
    assert [record.fault is not None for record in records] == [False, False, False, True]
    with pytest.raises(ParseError, match=says) as caught:
        PennAction().read(tmp_path, records[3])
    assert caught.value.path == wrong


def test_a_file_without_its_variables_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "0001.mat", {"x": np.ones((3, 13))})
    (record,) = PennAction().records(tmp_path)
    with pytest.raises(ParseError, match="got no action, train, visibility, y"):
        PennAction().read(tmp_path, record)


def test_a_store_knows_its_dimensions_and_does_not_doubt_them(tmp_path):
    penn_files.folder_of_three(tmp_path / "labels")
    store = Store.open(convert_recordings(PennAction(), tmp_path, tmp_path / "store").store)
    assert store.skeleton.dimensions == 2
    assert [len(rows) for rows in store.split_rows("official")] == [2, 1]
    summary = summarise(store)
    assert not [text for text in summary.warnings if "z" in text or "dimension" in text or "feet" in text]
    assert [text.partition(":")[0] for text in summary.not_checked] == ["size of bodies", "left and right", "bones"]


@pytest.mark.data
@pytest.mark.slow
def test_the_real_videos_and_their_raw_coordinates(data_folder, tmp_path):
    """Counts are those of the description; the nearest neighbour of joints as they are written is that of others."""
    with tarfile.open(data_folder / "penn_action" / "labels.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    scores = {}
    for as_written in (False, True):
        reader = PennAction(unseen_as_written=as_written)
        store = Store.open(convert_recordings(reader, tmp_path, tmp_path / f"store{as_written}").store)
        train, test = store.split_rows("official")
        assert (len(train), len(test)) == (1258 if as_written else 1257, 1068)
        reports = RawBaseline().run(TaskData(store, train, test, "official"), TaskContext())
        scores[as_written] = [round(report.metrics["top1_percent"], 1) for report in reports]
    assert scores == {False: [93.5, 90.8], True: [88.1, 86.8]}
