import gc
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from data_clips import SMALL, flat, make_sequence, make_store

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.frames import flat_frames
from marrow.data.loader import ResidentLoader, StreamingLoader
from marrow.data.sampling import batch_from_sequences, evaluation_batches
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError
from marrow.skeleton.streams import stream
from marrow.store.format import Store

INPUT = InputConfig(window_frames=12, alignment="yaw")
AUGMENT = AugmentConfig(min_crop_frames=4, yaw_radians=1.0, mirror_probability=0.5, scale_share=0.1, jitter_metres=0.01)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("loaders"))


@pytest.fixture(autouse=True)
def _collect_workers() -> Iterator[None]:
    yield
    gc.collect()  # worker processes end with their loader


def resident(store: Store, clips: int = 23, **changes) -> ResidentLoader:
    settings = {"batch_clips": 8, "seed": 3, "device": "cpu"} | changes
    return ResidentLoader(store, np.arange(clips), INPUT, AUGMENT, **settings)


def streaming(store: Store, **changes) -> StreamingLoader:
    settings = {"batch_clips": 8, "seed": 3, "device": "cpu", "workers": 0} | changes
    return StreamingLoader(store, np.arange(23), INPUT, AUGMENT, **settings)


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("joints", "present", "label", "row"))


@pytest.mark.parametrize(("workers", "micro_batches"), [(0, 2), (2, 1)])
def test_both_loaders_give_the_same_batches_bit_for_bit(store: Store, workers: int, micro_batches: int):
    a = resident(store, micro_batches=micro_batches)
    b = streaming(store, micro_batches=micro_batches, workers=workers)
    for _ in range(5):  # past the end of two epochs
        for (batch_a, draws_a), (batch_b, draws_b) in zip(a.next_step(), b.next_step(), strict=True):
            assert same(batch_a, batch_b)
            assert (draws_a.seed, draws_a.step) == (draws_b.seed, draws_b.step)
            assert torch.equal(draws_a.index, draws_b.index)
    assert a.position == b.position == 5
    assert a.epoch == b.epoch == 2.5


def test_an_epoch_visits_clips_once_in_an_order_of_its_own(store: Store):
    loader = resident(store)
    assert loader.steps_per_epoch == 2
    epochs = [torch.cat([loader.next_step()[0][0].row for _ in range(2)]).tolist() for _ in range(2)]
    assert all(len(set(rows)) == 16 for rows in epochs)
    assert epochs[0] != epochs[1]
    assert epochs[0] != torch.cat([resident(store, seed=4).next_step()[0][0].row]).tolist()


def test_labels_and_rows_are_those_of_the_store(store: Store):
    rows = np.array([20, 3, 11, 7])
    loader = ResidentLoader(store, rows, INPUT, AUGMENT, batch_clips=4, seed=0, device="cpu")
    batch, _ = loader.next_step()[0]
    assert sorted(batch.row.tolist()) == [3, 7, 11, 20]
    assert batch.label.tolist() == store.label[batch.row.numpy()].tolist()


@pytest.mark.parametrize("make", [resident, streaming])
def test_a_resumed_loader_goes_on_with_the_following_batches(store: Store, make):
    whole = make(store)
    expected = [whole.next_step()[0][0] for _ in range(6)]
    first = make(store)
    for _ in range(3):
        first.next_step()
    state = first.state_dict()
    assert all(type(value) is int for value in state.values())
    second = make(store)
    second.next_step()  # whatever has been read ahead is forgotten
    second.load_state_dict(state)
    assert second.position == 3
    assert all(same(second.next_step()[0][0], batch) for batch in expected[3:])


@pytest.mark.parametrize("make", [resident, streaming])
def test_iterating_gives_the_micro_batches_of_all_steps_to_come(
    store: Store, make: Callable[..., ResidentLoader | StreamingLoader]
):
    expected = make(store, micro_batches=2)
    pieces = [piece for _ in range(5) for piece in expected.next_step()]  # past the end of two epochs
    loader = make(store, micro_batches=2)
    loader.next_step()
    for (batch, draws), (same_batch, same_draws) in zip(islice(loader, 8), pieces[2:], strict=True):
        assert same(batch, same_batch)
        assert (draws.step, draws.index.tolist()) == (same_draws.step, same_draws.index.tolist())
    assert loader.position == 5


@pytest.mark.parametrize("changed", [{"seed": 4}, {"batch_clips": 4}, {"clips": 22}])
def test_a_state_of_another_run_is_refused(store: Store, changed: dict[str, int]):
    state = resident(store, **changed).state_dict()
    with pytest.raises(CheckpointError, match=f"made with {next(iter(changed)).replace('clips', 'clip')[:4]}"):
        resident(store).load_state_dict(state)
    with pytest.raises(CheckpointError, match="lacks 'position'"):
        resident(store).load_state_dict({"seed": 3})


def test_two_ranks_share_out_what_one_rank_cuts_in_two(store: Store):
    alone = resident(store, micro_batches=2)
    ranks = [resident(store, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(3):
        expected = alone.next_step()
        for micro, rank in enumerate(ranks):
            batch, draws = rank.next_step()[0]
            assert same(batch, expected[micro][0])
            assert torch.equal(draws.index, expected[micro][1].index)


def test_a_clip_does_not_depend_on_how_the_batch_is_cut(store: Store):
    whole = resident(store).next_step()[0][0]
    pieces = [
        resident(store, rank=rank, world_size=2, micro_batches=2).next_step()[micro]
        for micro in (0, 1)
        for rank in (0, 1)
    ]
    assert torch.cat([draws.index for _, draws in pieces]).tolist() == list(range(8))
    assert torch.equal(torch.cat([batch.joints for batch, _ in pieces]), whole.joints)


def test_batches_that_cannot_be_are_refused(store: Store):
    with pytest.raises(ConfigError, match="largest possible is 23"):
        resident(store, batch_clips=24)
    with pytest.raises(ConfigError, match="largest possible is 20"):
        resident(store, batch_clips=24, micro_batches=2, world_size=2)
    with pytest.raises(ConfigError, match="multiple of 3"):
        resident(store, micro_batches=3)
    with pytest.raises(ConfigError, match="rank=2"):
        resident(store, rank=2, world_size=2)


def test_streams_are_taken_after_the_window(store: Store):
    rows = np.arange(5)
    joints = next(evaluation_batches(store, rows, INPUT, 5, "cpu"))
    for name in ("bone", "motion", "bone_motion"):
        config = InputConfig(window_frames=12, alignment="yaw", stream=name)
        got = next(evaluation_batches(store, rows, config, 5, "cpu"))
        values, present = stream(joints.joints, joints.present, SMALL, name)
        assert torch.equal(got.joints, values)
        assert torch.equal(got.present, present)


def test_evaluation_takes_rows_in_order_from_store_and_device_alike(store: Store):
    rows = np.array([9, 2, 17, 0, 5])
    from_store = list(evaluation_batches(store, rows, INPUT, 2, "cpu"))
    assert [batch.row.tolist() for batch in from_store] == [[9, 2], [17, 0], [5]]
    frames = flat_frames(store, np.arange(20), INPUT, "cpu")
    assert all(same(a, b) for a, b in zip(from_store, evaluation_batches(frames, rows, INPUT, 2, "cpu"), strict=True))
    with pytest.raises(ConfigError, match=r"not among the 20 clips.*\[22\]"):
        list(evaluation_batches(frames, np.array([0, 22]), INPUT, 2, "cpu"))
    assert list(evaluation_batches(store, rows[:0], INPUT, 2, "cpu")) == []


def test_a_batch_of_sequences_is_the_batch_of_the_store(store: Store):
    expected = next(evaluation_batches(store, np.array([3, 4]), INPUT, 2, "cpu"))
    got = batch_from_sequences([store.sequence(3), store.sequence(4)], INPUT, "cpu")
    assert torch.equal(got.joints, expected.joints)
    assert torch.equal(got.present, expected.present)
    assert torch.equal(got.label, expected.label)
    assert got.row.tolist() == [0, 1]


def test_the_body_axis_is_as_long_as_asked(store: Store):
    assert flat_frames(store, np.array([1]), INPUT, "cpu").max_bodies == 1
    assert flat_frames(store, np.array([1]), INPUT, "cpu", max_bodies=2).max_bodies == 2
    assert flat([make_sequence(3, bodies=3)]).max_bodies == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_gives_the_numbers_of_the_cpu(store: Store):
    cpu, cuda = resident(store), resident(store, device="cuda")
    for _ in range(3):
        (a, _), (b, _) = cpu.next_step()[0], cuda.next_step()[0]
        assert b.joints.device.type == "cuda"
        assert torch.equal(a.present, b.present.cpu())
        torch.testing.assert_close(a.joints, b.joints.cpu(), atol=1e-5, rtol=1e-5)
