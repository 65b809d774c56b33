import numpy as np
import pytest
import torch
from data_clips import SMALL, every, flat, make_sequence, ramp
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.data.augment import AugmentConfig, random_windows
from marrow.data.draws import Draws
from marrow.data.frames import flat_from_sequences
from marrow.data.gather import gather, gather_tensor
from marrow.data.window import InputConfig, Windows
from marrow.errors import DataError
from marrow.skeleton.geometry import align


def windows(*start_and_length: tuple[int, int]) -> Windows:
    start, length = torch.tensor(start_and_length).unbind(1)
    return Windows(start, length)


def test_resizing_two_frames_to_four_by_hand():
    # Positions (i + 0.5) * 2 / 4 - 0.5 = -0.25, 0.25, 0.75, 1.25, held inside [0, 1].
    frames = flat([ramp(2)])
    joints, present = gather(frames, every(frames), windows((0, 2)), 4)
    assert present.all()
    assert joints[0, 0, :, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]
    assert joints[0, 0, :, 3, 2].tolist() == [3.0, 3.25, 3.75, 4.0]


def test_shrinking_six_frames_from_the_third_to_two_by_hand():
    # Positions (i + 0.5) * 6 / 2 - 0.5 = 1 and 4 of the window, which starts at frame 2.
    frames = flat([ramp(9)])
    joints, _ = gather(frames, every(frames), windows((2, 6)), 2)
    assert joints[0, 0, :, 0, 0].tolist() == [3.0, 6.0]


def test_a_window_of_its_own_length_is_the_frames_themselves():
    sequence = make_sequence(17, bodies=2, absent_share=0.2)
    frames = flat([sequence])
    joints, present = gather(frames, every(frames), windows((0, 17)), 17)
    assert np.array_equal(joints[0].numpy(), sequence.joints)
    assert np.array_equal(present[0].numpy(), sequence.present)


@pytest.mark.parametrize("length", [1, 2, 7, 40, 119, 120, 121, 300])
@pytest.mark.parametrize("window_frames", [2, 48, 120])
def test_resizing_equals_torch_interpolate(length: int, window_frames: int):
    sequence = make_sequence(length)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(sequence.joints[0].reshape(length, 12).T.astype(np.float64))[None],
        size=window_frames,
        mode="linear",
        align_corners=False,
    )[0].T.reshape(window_frames, 4, 3)
    frames = flat([sequence])
    joints, _ = gather(frames, every(frames), windows((0, length)), window_frames)
    torch.testing.assert_close(joints[0, 0].double(), expected, atol=1e-6, rtol=0)


def test_a_joint_is_present_only_where_all_its_frames_are():
    # 4 frames to 8: positions -0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25. Frame 1 has a weight in 0.25 ... 1.75.
    sequence = ramp(4)
    sequence.present[0, 1, 2] = False
    frames = flat([sequence])
    _, present = gather(frames, every(frames), windows((0, 4)), 8)
    assert present[0, 0, :, 2].tolist() == [True, False, False, False, False, True, True, True]
    assert present[0, 0, :, 1].all()
    # 4 frames to 4: weights are zero, so that only the frame itself is lost.
    _, present = gather(frames, every(frames), windows((0, 4)), 4)
    assert present[0, 0, :, 2].tolist() == [True, False, True, True]


def test_a_body_that_a_clip_does_not_have_is_absent_and_zero():
    frames = flat([make_sequence(5, bodies=1), make_sequence(6, bodies=2, seed=1)])
    joints, present = gather(frames, every(frames), windows((0, 5), (0, 6)), 4, torch.eye(3).repeat(2, 1, 1))
    assert not present[0, 1].any()
    assert (joints[0, 1] == 0).all()
    assert present[1].all()


@pytest.mark.parametrize("alignment", ["none", "yaw", "body"])
def test_alignment_is_that_of_the_skeleton_package(alignment: str):
    sequence = make_sequence(9, bodies=2, absent_share=0.2)
    expected, _ = align(sequence.joints, sequence.present, SMALL, alignment)
    frames = flat([sequence], alignment)
    joints, _ = gather(frames, every(frames), windows((0, 9)), 9)
    np.testing.assert_allclose(joints[0].numpy(), expected, atol=2e-6)


def test_the_augmenting_matrix_follows_the_alignment():
    frames = flat([make_sequence(6)], "body")
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]])
    aligned, _ = gather(frames, every(frames), windows((0, 6)), 6)
    joints, _ = gather(frames, every(frames), windows((0, 6)), 6, turn)
    expected = torch.stack([-aligned[..., 1], aligned[..., 0], 2 * aligned[..., 2]], -1)
    torch.testing.assert_close(joints, expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    window_frames=st.integers(2, 40),
    seed=st.integers(0, 10_000),
)
def test_fused_equals_tensor(lengths: list[int], window_frames: int, seed: int):
    sequences = [
        make_sequence(length, bodies=1 + (seed + clip) % 3, seed=seed + clip, absent_share=0.2)
        for clip, length in enumerate(lengths)
    ]
    frames = flat(sequences, "yaw")
    rng = np.random.default_rng(seed)
    clips = torch.from_numpy(rng.integers(0, len(frames), 6))
    chosen = random_windows(
        frames.frame_count[clips], Draws(seed, 0, torch.arange(6)), AugmentConfig(0.1, min_crop_frames=1)
    )
    matrix = torch.from_numpy(rng.normal(size=(6, 3, 3)).astype(np.float32))
    fused = gather(frames, clips, chosen, window_frames, matrix)
    tensor = gather_tensor(frames, clips, chosen, window_frames, matrix @ frames.matrix[clips])
    assert torch.equal(fused[1], tensor[1])
    torch.testing.assert_close(fused[0], tensor[0], atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("rubbish", [1e6, -3.0, float("nan"), float("inf")])
def test_coordinates_of_absent_joints_change_nothing(rubbish: float):
    sequences = [make_sequence(30, bodies=2, absent_share=0.3), make_sequence(3, absent_share=0.3)]
    others = [make_sequence(30, bodies=2, absent_share=0.3), make_sequence(3, absent_share=0.3)]
    for other in others:
        other.joints[~other.present] = rubbish
    chosen = windows((4, 20), (0, 3))
    for alignment in ("none", "body"):
        plain, spoilt = flat(sequences, alignment), flat(others, alignment)
        for gathered in (gather, gather_tensor):
            a, b = (gathered(frames, every(frames), chosen, 16, frames.matrix) for frames in (plain, spoilt))
            assert torch.equal(a[0], b[0])
            assert torch.equal(a[1], b[1])
            assert (a[0][~a[1]] == 0).all()


def test_one_frame_is_held():
    frames = flat([make_sequence(1)])
    joints, present = gather(frames, every(frames), windows((0, 1)), 5)
    assert present.all()
    assert torch.equal(joints[0, 0], frames.joints.expand(5, 4, 3))


def test_collate_then_uncollate_is_the_original():
    sequences = [make_sequence(3 + clip, bodies=1 + clip % 2, seed=clip, absent_share=0.2) for clip in range(6)]
    frames = flat(sequences)
    for clip, sequence in enumerate(sequences):
        first, length, bodies = (int(x[clip]) for x in (frames.first, frames.frame_count, frames.body_count))
        rows = slice(first, first + bodies * length)
        assert np.array_equal(frames.joints[rows].view(bodies, length, 4, 3).numpy(), sequence.joints)
        assert np.array_equal(frames.present[rows].view(bodies, length, 4).numpy(), sequence.present)
        assert frames.label[clip] == sequence.record.label
    assert int(frames.first[-1] + frames.frame_count[-1] * frames.body_count[-1]) == len(frames.joints)


def test_sequences_that_do_not_fit_are_named():
    with pytest.raises(DataError, match="at least one sequence"):
        flat_from_sequences([], InputConfig(), "cpu")
    empty = make_sequence(1)
    object.__setattr__(empty, "joints", empty.joints[:, :0])
    object.__setattr__(empty, "present", empty.present[:, :0])
    with pytest.raises(DataError, match=r"a body and a frame.*\[1\]"):
        flat([make_sequence(2), empty])
