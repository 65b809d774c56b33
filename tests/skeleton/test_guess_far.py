import numpy as np
import pytest

from marrow.skeleton.guess import parents_by_rigidity


@pytest.mark.parametrize("far", [1e9, 1e20, 3e38])
def test_every_joint_has_a_parent_however_far_one_is(far):
    joints = np.zeros((3, 3, 3), np.float32)
    joints[:, 1], joints[:, 2], joints[1, 2] = 1, far, -far
    parents = parents_by_rigidity(joints)
    assert all(0 <= parent < 3 for parent in parents)
    assert sum(parent == joint for joint, parent in enumerate(parents)) == 1
