import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_clips import SMALL, every, flat, make_sequence, make_store, ramp
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.data.augment import AugmentConfig, random_windows
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.frames import flat_frames
from marrow.data.gather import gather, gather_tensor
from marrow.data.loader import ResidentLoader, StreamingLoader
from marrow.data.sampling import batch_from_sequences, evaluation_batch, evaluation_batches, training_batch
from marrow.data.window import InputConfig, Stream, Windows, frames_at_pace
from marrow.errors import ConfigError
from marrow.models.export import DESCRIPTION, load_encoder, save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig

RECORDED = InputConfig(window_frames=40, test_crop=1.0, pace="recorded")
STILL = AugmentConfig(crop_low=1.0, crop_high=1.0, rotation_radians=0.0)
LIVELY = AugmentConfig(
    min_crop_frames=4, yaw_radians=1.0, mirror_probability=0.5, scale_share=0.1, jitter_metres=0.01, one_of_each=0.5
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    yield make_store(tmp_path_factory.mktemp("pace"))
    gc.collect()  # worker processes end with their loader


def same(a: Batch, b: Batch) -> bool:
    names = ("joints", "present", "label", "row", "frame_count")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_frames_at_recorded_pace_are_those_that_are_stored():
    lengths = (15, 23, 40, 31)
    sequences = [make_sequence(n, bodies=1 + n % 2, seed=n, absent_share=0.2) for n in lengths]
    frames = flat(sequences)
    draws = Draws(0, 0, every(frames))
    batches = [
        evaluation_batch(frames, every(frames), RECORDED),
        training_batch(frames, every(frames), draws, RECORDED, STILL),
    ]
    chosen = Windows(torch.zeros(4, dtype=torch.int64), frames.frame_count)
    tensor = gather_tensor(frames, every(frames), chosen, 40, frames.matrix, frames.frame_count)
    batches.append(Batch(*tensor, frames.label, frames.row, frames.frame_count))
    for batch in batches:
        assert batch.frames().tolist() == list(lengths)
        assert batch.joints.shape == (4, 2, 40, 4, 3)
        for clip, sequence in enumerate(sequences):
            bodies, length = sequence.present.shape[:2]
            assert np.array_equal(batch.joints[clip, :bodies, :length].numpy(), sequence.joints)
            assert np.array_equal(batch.present[clip, :bodies, :length].numpy(), sequence.present)
            assert not batch.present[clip, bodies:].any()
            assert not batch.present[clip, :, length:].any()
            assert (batch.joints[clip, :, length:] == 0).all()
            assert (batch.joints[clip, bodies:] == 0).all()


@pytest.mark.parametrize("path", [gather, gather_tensor])
def test_only_what_is_too_short_or_too_long_is_resized_by_hand(path):
    # 2 frames to 4: positions (i + 0.5) * 2 / 4 - 0.5 = -0.25, 0.25, 0.75, 1.25, held inside [0, 1].
    # 12 frames to 6: (i + 0.5) * 2 - 0.5 = 0.5, 2.5, 4.5, ... 5 frames: themselves.
    frames = flat([ramp(2), ramp(12), ramp(5)])
    chosen = Windows(torch.zeros(3, dtype=torch.int64), frames.frame_count)
    times, count = frames_at_pace(chosen, InputConfig(window_frames=6, pace="recorded", min_frames=4))
    assert times == 6
    assert count is not None
    assert count.tolist() == [4, 6, 5]
    joints, present = path(frames, every(frames), chosen, times, frames.matrix, count)
    assert joints[:, 0, :, 0, 0].tolist() == [
        [0.0, 0.25, 0.75, 1.0, 0.0, 0.0],
        [0.5, 2.5, 4.5, 6.5, 8.5, 10.5],
        [0.0, 1.0, 2.0, 3.0, 4.0, 0.0],
    ]
    assert joints[:, 0, 3, 3, 2].tolist() == [4.0, 9.5, 6.0]
    assert present[:, 0].all(2).tolist() == [[i < n for i in range(6)] for n in (4, 6, 5)]
    assert present[:, 0].any(2).tolist() == present[:, 0].all(2).tolist()


def test_the_time_axis_is_as_long_as_the_longest_clip_of_the_batch():
    frames = flat([make_sequence(n) for n in (3, 20, 25, 99)])
    for clips, times in (([0], 15), ([0, 1], 20), ([0, 1, 2], 25), ([3, 0], 40)):
        batch = evaluation_batch(frames, torch.tensor(clips), RECORDED)
        assert batch.joints.shape[2] == batch.frames().max() == times


def test_the_crop_comes_before_the_pace():
    # int((1 - 0.5) * 60 / 2) = 15 of 60 frames go at either end: frames 15 ... 44 as they are.
    frames = flat([ramp(60)])
    batch = evaluation_batch(frames, every(frames), InputConfig(window_frames=40, test_crop=0.5, pace="recorded"))
    assert batch.joints[0, 0, :, 0, 0].tolist() == list(range(15, 45))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    window_frames=st.integers(8, 40),
    min_frames=st.integers(2, 8),
    seed=st.integers(0, 10_000),
)
def test_fused_equals_tensor(lengths: list[int], window_frames: int, min_frames: int, seed: int):
    sequences = [
        make_sequence(length, bodies=1 + (seed + clip) % 3, seed=seed + clip, absent_share=0.2)
        for clip, length in enumerate(lengths)
    ]
    frames = flat(sequences, "yaw")
    rng = np.random.default_rng(seed)
    clips = torch.from_numpy(rng.integers(0, len(frames), 6))
    draws = Draws(seed, 0, torch.arange(6))
    chosen = random_windows(frames.frame_count[clips], draws, AugmentConfig(0.1, min_crop_frames=1, one_of_each=0.5))
    input = InputConfig(window_frames, pace="recorded", min_frames=min_frames)
    times, count = frames_at_pace(chosen, input)
    matrix = torch.from_numpy(rng.normal(size=(6, 3, 3)).astype(np.float32))
    fused = gather(frames, clips, chosen, times, matrix, count)
    tensor = gather_tensor(frames, clips, chosen, times, matrix @ frames.matrix[clips], count)
    assert torch.equal(fused[1], tensor[1])
    torch.testing.assert_close(fused[0], tensor[0], atol=1e-5, rtol=1e-6)


def test_full_counts_are_no_counts():
    frames = flat([make_sequence(n, absent_share=0.2) for n in (3, 20, 99)], "body")
    chosen = Windows(torch.zeros(3, dtype=torch.int64), frames.frame_count)
    full = torch.full((3,), 24)
    for path in (gather, gather_tensor):
        a, b = (path(frames, every(frames), chosen, 24, frames.matrix, count) for count in (None, full))
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    resized = InputConfig(window_frames=24)
    assert frames_at_pace(chosen, resized) == (24, None)
    assert evaluation_batch(frames, every(frames), resized).frame_count is None


@pytest.mark.parametrize("stream", ["joint", "bone", "motion", "bone_motion"])
@pytest.mark.parametrize("augment", [STILL, LIVELY], ids=["still", "lively"])
def test_a_clip_does_not_depend_on_the_longest_of_its_batch(stream: Stream, augment: AugmentConfig):
    frames = flat([make_sequence(n, bodies=1 + n % 2, seed=n, absent_share=0.1) for n in range(3, 51)], "yaw")
    input = InputConfig(window_frames=40, alignment="yaw", stream=stream, pace="recorded")
    whole = training_batch(frames, every(frames), Draws(1, 2, every(frames)), input, augment)
    assert whole.joints.shape[2] > 30
    shorter = 0
    for clip in range(len(frames)):
        place = torch.tensor([clip])
        alone = training_batch(frames, place, Draws(1, 2, place), input, augment)
        times = alone.joints.shape[2]
        assert alone.frames().tolist() == whole.frames()[place].tolist() == [times]
        assert torch.equal(alone.joints[0], whole.joints[clip, :, :times])
        assert torch.equal(alone.present[0], whole.present[clip, :, :times])
        assert not whole.present[clip, :, times:].any()
        assert (whole.joints[clip, :, times:] == 0).all()
        shorter += times < whole.joints.shape[2]
    assert shorter > 20


def test_motion_ends_with_the_clip_by_hand():
    # x = 0, 1, 4 moves by 1, 3, 0, and so it does beside a longer clip: the last motion is zero and exists.
    short, long = ramp(3), ramp(5)
    short.joints[:] = np.array([0, 1, 4], np.float32)[None, :, None, None]
    short.present[0, 2, 3] = False
    frames = flat([short, long])
    batch = evaluation_batch(
        frames, every(frames), InputConfig(5, stream="motion", test_crop=1.0, pace="recorded", min_frames=2)
    )
    assert batch.joints[0, 0, :, 0, 1].tolist() == [1.0, 3.0, 0.0, 0.0, 0.0]
    assert batch.present[0, 0, :, 0].tolist() == [True, True, True, False, False]
    # The fourth joint is lost in the last frame, so that two of its motions do not exist.
    assert batch.present[0, 0, :, 3].tolist() == [True, False, False, False, False]
    assert batch.joints[1, 0, :, 0, 1].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert batch.present[1].all()


@pytest.mark.parametrize("workers", [0, 2])
def test_both_loaders_give_the_same_batches_bit_for_bit(store, workers: int):
    input = InputConfig(window_frames=25, alignment="yaw", stream="motion", pace="recorded", min_frames=6)
    chosen = {"batch_clips": 8, "seed": 3, "device": "cpu", "micro_batches": 2}
    a = ResidentLoader(store, np.arange(23), input, LIVELY, **chosen)
    b = StreamingLoader(store, np.arange(23), input, LIVELY, **chosen, workers=workers)
    lengths = set()
    for _ in range(5):  # past the end of two epochs
        for (one, _), (other, _) in zip(a.next_step(), b.next_step(), strict=True):
            assert same(one, other)
            lengths.add(one.joints.shape[2])
    assert len(lengths) > 1


def test_evaluation_is_the_same_from_store_device_and_memory(store):
    rows = np.array([9, 2, 17, 0, 5])
    from_store = list(evaluation_batches(store, rows, RECORDED, 2, "cpu"))
    frames = flat_frames(store, np.arange(20), RECORDED, "cpu")
    assert all(
        same(a, b) for a, b in zip(from_store, evaluation_batches(frames, rows, RECORDED, 2, "cpu"), strict=True)
    )
    got = batch_from_sequences([store.sequence(9), store.sequence(2)], RECORDED, "cpu")
    assert torch.equal(got.joints, from_store[0].joints)
    assert torch.equal(got.frames(), from_store[0].frames())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_gives_the_numbers_of_the_cpu(store):
    chosen = {"batch_clips": 8, "seed": 3}
    cpu, cuda = (
        ResidentLoader(store, np.arange(23), RECORDED, LIVELY, device=device, **chosen) for device in ("cpu", "cuda")
    )
    for _ in range(5):
        (a, _), (b, _) = cpu.next_step()[0], cuda.next_step()[0]
        assert b.frames().device.type == "cuda"
        assert torch.equal(a.frames(), b.frames().cpu())
        assert torch.equal(a.present, b.present.cpu())
        torch.testing.assert_close(a.joints, b.joints.cpu(), atol=1e-5, rtol=1e-5)
    own = InputConfig(window_frames=40, pace="recorded", min_frames=2)
    still = [ResidentLoader(store, np.arange(23), own, STILL, device=at, **chosen) for at in ("cpu", "cuda")]
    a, b = (loader.next_step()[0][0].joints.cpu() for loader in still)
    assert torch.equal(a, b), "frames as they are stored"


def test_counts_travel_with_their_clips():
    frames = flat([make_sequence(n) for n in (16, 20, 25)])
    batch = evaluation_batch(frames, every(frames), RECORDED)
    assert batch.take(torch.tensor([2, 0])).frames().tolist() == [25, 16]
    assert batch.to("cpu").absent_as_zeros().frames().tolist() == [16, 20, 25]


@pytest.mark.parametrize("wrong", [{"min_frames": 1}, {"min_frames": 121}, {"window_frames": 14}])
def test_the_fewest_frames_must_fit_into_the_window(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"min_frames must lie between 2 and input\.window_frames .*got"):
        InputConfig(pace="recorded", **wrong)
    InputConfig(pace="resized", **wrong)  # where nobody asks for it


def test_encoders_that_know_no_pace_are_still_read(tmp_path: Path):
    encoder = PatchTransformer(PatchTransformerConfig(width=8, depth=1, heads=2), InputConfig(window_frames=8), SMALL)
    save_encoder(encoder, tmp_path, {})
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    del description["input"]["pace"], description["input"]["min_frames"]
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    assert load_encoder(tmp_path).input == InputConfig(window_frames=8)


def test_an_encoder_of_full_windows_says_so():
    with pytest.raises(ConfigError, match=r"input\.pace must be resized, got 'recorded'"):
        PatchTransformer(PatchTransformerConfig(width=8, depth=1, heads=2), RECORDED, SMALL)
