import re
from pathlib import Path

import numpy as np
import pytest
import torch

import marrow
from marrow.data.augment import AugmentConfig
from marrow.data.draws import STREAMS, Draws
from marrow.data.loader import ResidentLoader, Schedule
from marrow.data.window import InputConfig
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store

DRAWS = Draws(seed=3, step=5, index=torch.arange(400))


def test_every_name_in_the_library_belongs_to_one_stream() -> None:
    text = "\n".join(path.read_text() for path in Path(marrow.__file__).parent.rglob("*.py"))
    used = set(re.findall(r'draws\.uniform\(\s*"(\w+)"', text)) | {"order"}
    names = [name for stream in STREAMS.values() for name in stream]
    assert len(names) == len(set(names))
    assert used <= set(names)
    assert set(STREAMS) == {"order", "crop and augmentation", "objective", "dropout"}


def test_names_are_independent_and_uniform() -> None:
    drawn = torch.stack([DRAWS.uniform(name) for stream in STREAMS.values() for name in stream])
    # Of 400 uniform numbers the mean is 1/2 ± 0.0144; two independent rows correlate by 0 ± 0.05.
    assert (drawn.mean(1) - 0.5).abs().max() < 4 * 0.0144
    assert (torch.corrcoef(drawn) - torch.eye(len(drawn))).abs().max() < 4.5 * 0.05


@pytest.mark.parametrize("stream", STREAMS)
def test_drawing_more_under_one_name_changes_nothing_under_the_others(stream: str) -> None:
    others = [name for other, names in STREAMS.items() if other != stream for name in names]
    before = [DRAWS.uniform(name, 3) for name in others]
    for name in STREAMS[stream]:
        DRAWS.uniform(name, 100)
    assert all(torch.equal(DRAWS.uniform(name, 3), old) for name, old in zip(others, before, strict=True))


def test_seed_step_and_place_decide() -> None:
    drawn = DRAWS.uniform("hidden", 2)
    assert torch.equal(Draws(3, 5, torch.arange(200, 400)).uniform("hidden", 2), drawn[200:])
    for other in (Draws(4, 5, DRAWS.index), Draws(3, 6, DRAWS.index), Draws(3, 5, DRAWS.index + 400)):
        assert (other.uniform("hidden", 2) == drawn).float().mean() < 0.01


def _loader(store: Store, augment: AugmentConfig) -> ResidentLoader:
    rows = np.arange(len(store))
    return ResidentLoader(store, rows, InputConfig(window_frames=8), augment, batch_clips=4, seed=2, device="cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("draws") / "store"
    generator = np.random.default_rng(1)
    sequences = [
        SkeletonSequence(
            generator.normal(0, 0.3, (1, 20, 25, 3)).astype(np.float32),
            np.ones((1, 20, 25), np.bool_),
            30.0,
            get_skeleton("kinect_v2_25"),
            Record(f"clip{number}", label=0),
        )
        for number in range(12)
    ]
    write_store(folder, sequences, source="noise", classes=("a",))
    return Store.open(folder)


def test_a_change_of_the_augmentation_leaves_order_and_objective_alone(store: Store) -> None:
    plain = _loader(store, AugmentConfig())
    varied = _loader(store, AugmentConfig(rotation_radians=0.3, mirror_probability=0.5, jitter_metres=0.01))
    for _ in range(5):
        (one, its_draws), (other, other_draws) = plain.next_step()[0], varied.next_step()[0]
        assert torch.equal(one.row, other.row)
        assert not torch.equal(one.joints, other.joints)
        assert torch.equal(its_draws.uniform("hidden", 7), other_draws.uniform("hidden", 7))


def test_a_resume_goes_on_in_every_stream(store: Store) -> None:
    augment = AugmentConfig(rotation_radians=0.3, mirror_probability=0.5, jitter_metres=0.01)
    whole, resumed = _loader(store, augment), _loader(store, augment)
    for _ in range(4):  # three steps are an epoch
        whole.next_step()
    resumed.load_state_dict(whole.state_dict())
    for _ in range(4):
        (one, its_draws), (other, other_draws) = whole.next_step()[0], resumed.next_step()[0]
        assert torch.equal(one.row, other.row)  # order
        assert torch.equal(one.joints, other.joints)  # crop and augmentation
        for name in ("hidden", "dropout", "drop_path"):
            assert torch.equal(its_draws.uniform(name, 5), other_draws.uniform(name, 5))


def test_the_order_is_another_in_every_epoch() -> None:
    schedule = Schedule(clip_count=50, batch_clips=10, seed=1)
    first, second = schedule.order(0), schedule.order(1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any()
