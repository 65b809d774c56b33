"""The head that a fine-tuning begins with: logistic regression on the frozen features, as one linear layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from marrow.data.augment import AugmentConfig
from marrow.data.window import InputConfig
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Features
from marrow.models.heads import JointsHead, LinearHead, Recogniser
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.encoders import store_for
from marrow.tasks.recognition.finetune_training import train_in_one_go
from marrow.tasks.recognition.first_head import first_head, logistic_head
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.optim import OptimizerConfig, ScheduleConfig
from marrow.use.pack import pack

CPU = TaskContext(device="cpu", precision="fp32")
CONFIG = FinetuneConfig(epochs=2, schedule=ScheduleConfig(0.0, 0.0), augment=AugmentConfig(rotation_radians=0.0))


def encoder(skeleton=BODY, **changes) -> PatchTransformer:
    config = PatchTransformerConfig(width=16, depth=2, heads=2, summary_blocks=(1, 2))
    with seeded_weights(0):
        reads = InputConfig(16, alignment="body" if skeleton is BODY else "yaw")
        return PatchTransformer(replace(config, **changes), reads, skeleton).eval()


def write_wavers(folder: Path, label: list[int]) -> Store:
    """Write clips of Kinect whose joints wander, the more the higher their class."""
    generator, clips = np.random.default_rng(0), []
    for number, one in enumerate(label):
        joints = generator.normal(size=(1, 1, 20, 3)) + (one + 1) * 0.1 * generator.normal(size=(1, 20, 20, 3))
        present = np.ones((1, 20, 20), np.bool_)
        record = Record(f"clip{number}", label=one, attributes={"subject": number % 2})
        clips.append(SkeletonSequence(joints.astype(np.float32), present, 30.0, KINECT_V1_20, record))
    return write_store(folder, clips, source="made up", classes=("a", "b", "c"))


@pytest.fixture
def data(tmp_path: Path) -> TaskData:
    store = write_wavers(tmp_path / "store", [0, 1, 2] * 6)
    rows = np.arange(18)
    return TaskData(store_for(encoder(), store, "it"), rows[:12], rows[12:], protocol="some")


def some(data: TaskData, *classes: int) -> TaskData:
    label = np.asarray(data.store.label)
    return replace(data, train_rows=data.train_rows[np.isin(label[data.train_rows], classes)])


def scores_of(head: LinearHead, pooled: torch.Tensor) -> torch.Tensor:
    tokens = torch.zeros(len(pooled), 1, 1, 1, 16)
    return head(Features(tokens, torch.ones(tokens.shape[:-1], dtype=torch.bool), pooled[:, None]))


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_it_is_logistic_regression_on_the_features(data: TaskData, classes: tuple[int, ...]) -> None:
    network, data = encoder(), some(data, *classes)
    train, test = CPU.tables(network, data)
    scaler = StandardScaler().fit(train.pooled.double().numpy())
    model = LogisticRegression(max_iter=5000).fit(scaler.transform(train.pooled.double().numpy()), train.label.numpy())
    expected = model.predict_proba(scaler.transform(test.pooled.double().numpy()))
    got = scores_of(logistic_head(network, data, CPU), test.pooled).softmax(1).detach().numpy()
    np.testing.assert_allclose(got[:, list(classes)], expected, atol=1e-5)
    absent = [number for number in range(3) if number not in classes]
    assert (got[:, absent] < 1e-6).all()


def test_summaries_of_blocks_begin_with_it_and_other_encoders_with_the_papers_head(data: TaskData) -> None:
    assert isinstance(first_head(encoder(), data, CONFIG, CPU), LinearHead)
    assert isinstance(first_head(encoder(summary_blocks=()), data, CONFIG, CPU), JointsHead)
    assert isinstance(first_head(encoder(), data, replace(CONFIG, head="hidden"), CPU), JointsHead)
    other = encoder(KINECT_V1_20, summary_blocks=())
    assert isinstance(first_head(other, data, CONFIG, CPU), JointsHead)


def test_where_nothing_is_learned_it_stays_what_it_was(data: TaskData) -> None:
    """With a learning rate of next to nothing the predictions are those of the logistic regression."""
    network = encoder()
    optimizer = OptimizerConfig(learning_rate=1e-12)
    training = train_in_one_go(network, data, replace(CONFIG, optimizer=optimizer), CPU)
    expected = scores_of(logistic_head(network, data, CPU), CPU.table(network, data.store, data.test_rows).pooled)
    assert training.predictions[-1].tolist() == expected.argmax(1).tolist()


def test_numbers_that_are_left_out_are_as_in_the_mean_clip() -> None:
    """Not zero, which lies far outside of what the head has learned from: (0 - 10) / 0.1 = -100."""
    head = LinearHead(2, 1)
    head.mean.copy_(torch.tensor([10.0, 10.0]))
    head.scale.copy_(torch.tensor([0.1, 0.1]))
    with torch.no_grad():
        head.classify.weight.copy_(torch.tensor([[1.0, 2.0]]))
        head.classify.bias.zero_()
    features = Features(
        torch.zeros(1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, dtype=torch.bool), torch.tensor([[[10.1, 10.2]]])
    )

    def score(*kept: bool) -> float:
        return head(features, torch.tensor([[kept]]), 0.5).item()

    assert head(features).item() == pytest.approx(5.0, abs=1e-3)  # 1 x 1 + 2 x 2
    assert score(False, False) == pytest.approx(0.0, abs=1e-3)
    assert score(True, False) == pytest.approx(2.0, abs=1e-3)  # twice its share, so that the average over draws is 5
    assert score(False, True) == pytest.approx(8.0, abs=1e-3)


def test_a_recogniser_with_it_is_kept_and_packed(data: TaskData, tmp_path: Path) -> None:
    recogniser = Recogniser(encoder(), logistic_head(encoder(), data, CPU).eval(), ("a", "b", "c"))
    recogniser.save(tmp_path / "kept", {})
    recordings = [data.store.sequence(int(row)) for row in data.test_rows]
    expected = recogniser.predict(recordings)
    assert np.array_equal(Recogniser.load(tmp_path / "kept").predict(recordings), expected)
    packed = pack(tmp_path / "kept", tmp_path / "packed", terms="Made up.")
    assert np.array_equal(Recogniser.load(packed).predict(recordings), expected)
