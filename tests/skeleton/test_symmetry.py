"""Partners by the shape of a body: a pose that is known, with noise, turned, with something in one hand."""

import numpy as np
import pytest

from marrow.errors import DataError
from marrow.skeleton.symmetry import mirror_by_bones, mirror_by_rest_pose

# (joint, parent, x, y, z) in metres, y up, facing +z: arms hang a little out, feet point forward.
MIDDLE = [
    ("hips", "hips", 0, 0.95, 0),
    ("spine", "hips", 0, 1.2, -0.02),
    ("neck", "spine", 0, 1.45, 0),
    ("head", "neck", 0, 1.65, 0.03),
]
SIDE = [
    *(("thigh", "hips", 0.09, 0.92, 0), ("knee", "thigh", 0.1, 0.5, 0.02), ("ankle", "knee", 0.1, 0.09, -0.02)),
    *(
        ("toe", "ankle", 0.11, 0.02, 0.13),
        ("clavicle", "neck", 0.05, 1.43, 0.01),
        ("arm", "clavicle", 0.18, 1.42, -0.01),
    ),
    *(("elbow", "arm", 0.32, 1.17, -0.03), ("hand", "elbow", 0.42, 0.95, 0.03), ("thumb", "hand", 0.42, 0.9, 0.07)),
    *(("index", "hand", 0.44, 0.86, 0.04), ("ring", "hand", 0.45, 0.86, 0.0)),
]


def body(extra=()):
    """Names, positions, parents and the true mirror; left and right in turn, so that no order tells them."""
    rows = list(MIDDLE)
    for at, (name, parent, x, y, z) in enumerate(SIDE):
        for side, sign in (("l", 1), ("r", -1)) if at % 2 else (("r", -1), ("l", 1)):
            above = parent if parent in {row[0] for row in MIDDLE} else f"{side}_{parent}"
            rows.append((f"{side}_{name}", above, sign * x, y, z))
    rows += extra
    names = [row[0] for row in rows]
    partner = {name: {"l": "r", "r": "l"}.get(name[0], "") + name[1:] if name[1] == "_" else name for name in names}
    mirror = tuple(names.index(partner[name]) if partner[name] in names else at for at, name in enumerate(names))
    return names, np.array([row[2:] for row in rows], float), [names.index(row[1]) for row in rows], mirror


def turned(points, degrees):
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return points @ matrix.T + [3, 0, -2]


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
@pytest.mark.parametrize("up", ["y", None])
def test_a_body_of_known_pose(degrees, up):
    _, points, parents, mirror = body()
    assert len([1 for joint, other in enumerate(mirror) if joint != other]) == 22
    assert mirror_by_rest_pose(turned(points, degrees), parents, up) == mirror


@pytest.mark.parametrize("seed", range(5))
def test_with_noise_of_a_centimetre(seed):
    names, points, parents, mirror = body()
    noisy = turned(points, 40) + np.random.default_rng(seed).normal(scale=0.006, size=points.shape)
    found = mirror_by_rest_pose(noisy, parents, "y")
    # Finger tips lie closer to each other than the noise can tell; everything else must be right.
    for joint, name in enumerate(names):
        if name[2:] not in ("thumb", "index", "ring"):
            assert found[joint] == mirror[joint], name


def test_something_in_one_hand_has_no_partner():
    names, points, parents, mirror = body([("sword", "r_hand", -0.45, 0.9, 0.5), ("tip", "sword", -0.5, 1.0, 1.4)])
    assert mirror[names.index("sword")] == names.index("sword")
    assert mirror_by_rest_pose(turned(points, 70), parents, "y") == mirror


def test_centimetres_and_z_up():
    _, points, parents, mirror = body()
    assert mirror_by_rest_pose(100 * points[:, [2, 0, 1]], parents, "z") == mirror


def test_flat_arms_do_not_make_front_and_back_partners():
    _, points, parents, mirror = body()
    points[:, 2] = 0
    points[[at for at, _ in enumerate(points) if abs(points[at, 0]) > 0.2], 1] = 1.42  # arms straight out
    found = mirror_by_rest_pose(points, parents, "y")
    assert [found[joint] for joint in range(14)] == list(mirror[:14])


def test_what_has_no_symmetry_has_no_pairs():
    chain = np.array([[0, 0, 0], [0, 1, 0], [0.3, 1.8, 0.1], [0.1, 2.5, 0.4]], float)
    assert mirror_by_rest_pose(chain, [0, 0, 1, 2], "y") == (0, 1, 2, 3)
    assert mirror_by_rest_pose(np.zeros((4, 3)), [0, 0, 1, 2]) == (0, 1, 2, 3)
    assert mirror_by_rest_pose(np.full((4, 3), np.nan), [0, 0, 1, 2]) == (0, 1, 2, 3)
    many = np.random.default_rng(0).normal(size=(2000, 3))
    assert mirror_by_rest_pose(many, [0] * 2000) == tuple(range(2000))
    # Two chains of 250 joints: longer than any limb.
    chains = np.concatenate([[(0, 0, 0)], *([(side, at, 0) for at in range(250)] for side in (-1, 1))]).astype(float)
    parents = [0, 0, *range(1, 250), 0, *range(251, 500)]
    assert mirror_by_bones(chains, parents) == tuple(range(501))
    with pytest.raises(DataError, match="a parent of each of 4 joints, got 2"):
        mirror_by_rest_pose(chain, [0, 0])


def test_a_joint_that_was_not_seen_has_no_partner():
    names, points, parents, mirror = body()
    at = names.index("l_toe")
    points[at] = np.nan
    found = mirror_by_rest_pose(points, parents, "y")
    expected = [joint if at in (joint, other) else other for joint, other in enumerate(mirror)]
    assert list(found) == expected


def test_it_is_its_own_inverse_whatever_comes():
    random = np.random.default_rng(3)
    for _ in range(20):
        parents = [0, *(int(random.integers(0, joint)) for joint in range(1, 25))]
        found = mirror_by_rest_pose(random.normal(size=(25, 3)), parents, None)
        assert all(found[found[joint]] == joint for joint in range(25))


def test_bones_tell_in_any_pose():
    names, points, parents, mirror = body([("sword", "r_hand", -0.45, 0.9, 0.5)])
    random = np.random.default_rng(5)
    posed = points.copy()
    for joint, parent in enumerate(parents):  # every bone in a direction of its own, as long as before
        if joint != parent:
            direction = random.normal(size=3)
            length = np.linalg.norm(points[joint] - points[parent])
            posed[joint] = posed[parent] + length * direction / np.linalg.norm(direction)
    assert mirror_by_bones(posed, parents) == mirror
    assert mirror_by_rest_pose(posed, parents, "y") == mirror
    assert mirror_by_bones(np.zeros_like(points), parents[: len(points)]) == tuple(range(len(names)))


def test_a_few_pairs_by_accident_are_none():
    # A chain of ten with two twigs of one length at its end.
    points = np.array([[0, 0.3 * at * (1 + 0.1 * at), 0] for at in range(10)] + [[0.2, 9, 0], [-0.2, 9, 0]], float)
    assert mirror_by_rest_pose(points, [0, *range(9), 9, 9], "y") == tuple(range(12))
