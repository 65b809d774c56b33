import numpy as np
import pytest

from marrow.skeleton.guess import parents_by_rigidity


@pytest.mark.parametrize("near", [0, 1e-41, 1e-9])
def test_joints_in_one_point_have_a_parent_each(near):
    joints = np.zeros((3, 3, 3), np.float32)
    joints[:, 1], joints[:, 2], joints[1, 2] = near, 2 * near, -near
    parents = parents_by_rigidity(joints)
    assert all(0 <= parent < 3 for parent in parents)
    assert sum(parent == joint for joint, parent in enumerate(parents)) == 1
