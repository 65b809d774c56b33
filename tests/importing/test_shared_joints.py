"""Files of one skeleton that end their chains differently come in together; files of other skeletons do not."""

import numpy as np
import pytest

from marrow.errors import ParseError
from marrow.importing.importer import Recordings
from marrow.readers.bvh import BVH

# An upper arm of 10 and a forearm of 8, both along x, a hand that ends 5 further along y.
ARM = """HIERARCHY
ROOT Shoulder
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT Elbow
 {
  OFFSET 10 0 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  JOINT Wrist
  {
   OFFSET 8 0 0
   CHANNELS 3 Zrotation Xrotation Yrotation
   End Site
   {
    OFFSET 0 5 0
   }
  }
 }
}
MOTION
Frames: 2
Frame Time: 0.0333333
1 2 3 0 0 0 0 0 0 0 0 0
1 2 3 90 0 0 0 0 0 0 0 0
"""
END = "   End Site\n   {\n    OFFSET 0 5 0\n   }\n"
# In the first frame the arm lies along x, in the second along y.
PLACES = [[(1, 2, 3), (11, 2, 3), (19, 2, 3)], [(1, 2, 3), (1, 12, 3), (1, 20, 3)]]


def known(folder, reader=None):
    reader = (reader or Recordings(unit_metres=1.0, up="y")).for_root(folder)
    return reader, {record.id: record for record in reader.records(folder)}


@pytest.mark.parametrize("other", [ARM.replace("0 5 0", "0 0 0"), ARM.replace(END, "")])
def test_ends_that_some_files_lack_are_left_out_of_all(tmp_path, other):
    assert other != ARM
    (tmp_path / "long.bvh").write_text(ARM)
    (tmp_path / "short.bvh").write_text(other)
    reader, records = known(tmp_path)
    for record in records.values():
        sequence = reader.read(tmp_path, record)
        assert sequence.skeleton.joints == ("Shoulder", "Elbow", "Wrist")
        assert sequence.skeleton.parents == (0, 0, 1)
        np.testing.assert_allclose(sequence.joints[0], PLACES, atol=1e-5)
    noted = {name: " ".join(reader.read(tmp_path, record).notes) for name, record in records.items()}
    assert "not being in all files: Wrist_end" in noted["long"]
    assert "not being in all files" not in noted["short"]
    # The reader of one data set makes the same of them.
    assert known(tmp_path, BVH(unit_metres=1.0))[0].skeleton.joints == reader.skeleton.joints


def test_ends_that_all_files_have_stay_whatever_another_skeleton_lacks(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.bvh").write_text(ARM)
    other = ARM.replace("Elbow", "Knee").replace(END, "")
    (tmp_path / "c.bvh").write_text(other)
    reader, records = known(tmp_path)
    assert reader.skeleton.joints == ("Shoulder", "Elbow", "Wrist", "Wrist_end")
    assert reader.read(tmp_path, records["a"]).joints[0, 0, 3].tolist() == pytest.approx([19, 7, 3])
    with pytest.raises(ParseError, match="Knee"):
        reader.read(tmp_path, records["c"])


def test_a_joint_that_has_no_length_in_one_file_is_left_out_of_all(tmp_path):
    (tmp_path / "a.bvh").write_text(ARM)
    (tmp_path / "b.bvh").write_text(ARM.replace("OFFSET 10 0 0", "OFFSET 0 0 0"))
    reader, records = known(tmp_path)
    assert reader.skeleton.joints == ("Shoulder", "Wrist", "Wrist_end")
    assert reader.skeleton.parents == (0, 0, 1)
    np.testing.assert_allclose(reader.read(tmp_path, records["a"]).joints[0, 0, 1], (19, 2, 3), atol=1e-5)


def test_joints_that_are_asked_for_are_kept_where_they_are(tmp_path):
    (tmp_path / "long.bvh").write_text(ARM)
    (tmp_path / "short.bvh").write_text(ARM.replace(END, ""))
    asked = Recordings(unit_metres=1.0, up="y", joints=["Shoulder", "Wrist", "Wrist_end"])
    reader, records = known(tmp_path, asked)
    assert reader.read(tmp_path, records["long"]).skeleton.joints == ("Shoulder", "Wrist", "Wrist_end")
    with pytest.raises(ParseError):
        reader.read(tmp_path, records["short"])
